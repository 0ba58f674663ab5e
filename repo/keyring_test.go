package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
	"github.com/gpdedup/gpdedup/storage/target"
)

// keyWorld is a repository whose keys are changed.
type keyWorld struct {
	t  *testing.T
	st *mem.Store
	a  Secret // of init
}

func newKeyWorld(t *testing.T) *keyWorld {
	w := &keyWorld{t: t, st: mem.New(), a: Secret{KeyFile: testKeyFile(t)}}
	newTestRepo(t, w.st, w.a, Options{})
	return w
}

func (w *keyWorld) open(operation string, s Secret) (*Repo, error) {
	return Open(ctx, w.st, operation, Options{Secret: s, Limits: testLimits})
}

func (w *keyWorld) with(s Secret) *Repo {
	w.t.Helper()
	r, err := w.open("write", s)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *keyWorld) add(by, added Secret) string {
	w.t.Helper()
	_, id, err := w.with(by).AddKey(ctx, added, time.Unix(1800000000, 0))
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *keyWorld) rotate(by Secret, others OtherKeys, also ...Secret) *KeyTable {
	w.t.Helper()
	table, _, err := w.with(by).RotateKeys(ctx, RotateOptions{Also: also, Others: others, Now: time.Unix(1800000000, 0)})
	if err != nil {
		w.t.Fatal(err)
	}
	return table
}

// epochs returns the epochs with which objects below prefix are sealed, by how many.
func (w *keyWorld) epochs(prefix string) map[uint16]int {
	n := make(map[uint16]int)
	for _, key := range w.st.Keys() {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		object, err := w.st.Get(ctx, key, -1)
		if err != nil {
			w.t.Fatal(err)
		}
		h := seal.Header(object[:seal.HeaderSize])
		n[h.Epoch()]++
	}
	return n
}

// keys returns the objects with slots.
func (w *keyWorld) keys() []string {
	return slices.DeleteFunc(w.st.Keys(), func(key string) bool {
		return !strings.HasPrefix(key, slotPrefix) || strings.HasPrefix(key, slotPrefix+revisionPrefix)
	})
}

func TestKeysAreAddedAndRemoved(t *testing.T) {
	w := newKeyWorld(t)
	b, c := Secret{KeyFile: testKeyFile(t)}, Secret{Password: "second"}
	put(t, w.with(w.a), backupName(ts1, "x"), randomText(1, 100<<10), WriteOptions{})
	idB, idC := w.add(w.a, b), w.add(b, c)
	if again := w.add(c, b); again != idB {
		t.Errorf("added twice: %s, %s", idB, again)
	}
	for _, s := range []Secret{w.a, b, c} {
		if got := restored(t, w.with(s), backupName(ts1, "x")); !bytes.Equal(got, randomText(1, 100<<10)) {
			t.Error("restored another stream")
		}
	}
	table, err := w.with(c).KeyTable(ctx)
	if err != nil || len(table.Slots) != 3 || table.Epoch != 1 || table.Revision != 3 || table.Changed.IsZero() || len(table.Superseded) != 0 {
		t.Fatalf("%+v, %v", table, err)
	}
	for _, s := range table.Slots {
		if s.Opened != (s.ID == idC) || !s.Current || !slices.Equal(s.Epochs, []uint16{1}) || s.Created.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	if table.Slots[0].Kind != "key file" || table.Slots[2].Kind != "password" {
		t.Errorf("%+v", table.Slots)
	}

	// By the beginning of its id.
	if _, id, err := w.with(c).RemoveKey(ctx, idB[:12], time.Now()); err != nil || id != idB {
		t.Fatal(id, err)
	}
	if _, err := w.open("read", b); !errors.Is(err, ErrWrongKey) {
		t.Errorf("the key that was removed: %v", err)
	}
	for id, want := range map[string]string{
		"file-nonesuch": "no key slot", "": "no key slot", idB: "no key slot",
	} {
		if _, _, err := w.with(c).RemoveKey(ctx, id, time.Now()); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("remove %q: %v", id, err)
		}
	}
	if _, _, err := w.with(c).RemoveKey(ctx, keyFileOf(t, w.a), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.with(c).RemoveKey(ctx, idC, time.Now()); !errors.Is(err, ErrLastKey) || !errors.Is(err, ErrUsage) || Hint(err) == "" {
		t.Errorf("remove the last key: %v", err)
	}
	w.with(c)
	if keys := w.keys(); len(keys) != 2 {
		t.Errorf("left: %v", keys)
	}
}

func keyFileOf(t *testing.T, s Secret) string {
	t.Helper()
	cred, err := s.credential(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return cred.slotName()
}

const ts1, ts2 = "20261121000000", "20261122000000"

func TestRotatedKeys(t *testing.T) {
	w := newKeyWorld(t)
	old, late, lost := w.with(w.a), Secret{Password: "late"}, Secret{KeyFile: testKeyFile(t)}
	first := randomText(1, 200<<10)
	put(t, old, backupName(ts1, "x"), first, WriteOptions{})
	w.add(w.a, late)
	w.add(w.a, lost)

	// Whose secret is not given decides nothing by accident.
	_, _, err := w.with(w.a).RotateKeys(ctx, RotateOptions{Also: []Secret{late}})
	var others *OtherKeysError
	if !errors.As(err, &others) || len(others.Slots) != 1 || others.Slots[0].ID != keyFileOf(t, lost) || !errors.Is(err, ErrUsage) || Hint(err) == "" {
		t.Fatalf("rotate without one of the secrets: %v", err)
	}
	if _, _, err := w.with(w.a).RotateKeys(ctx, RotateOptions{Also: []Secret{{Password: "nobody's"}}, Others: DropOthers}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("rotate with a secret that opens nothing: %v", err)
	}
	if w.epochs(manifestPrefix)[1] != 1 || w.rotate(w.a, KeepOthers, late).Epoch != 2 {
		t.Error("epochs")
	}

	// New objects have the new epoch, chunks are still found.
	rep := put(t, w.with(late), backupName(ts2, "x"), append(first, randomText(2, 100<<10)...), WriteOptions{})
	if rep.Stats.NewChunks == 0 || rep.Stats.NewChunks > rep.Stats.Chunks/2 {
		t.Errorf("%d of %d chunks are new", rep.Stats.NewChunks, rep.Stats.Chunks)
	}
	for _, prefix := range []string{manifestPrefix, packPrefix} {
		if n := w.epochs(prefix); n[1] == 0 || n[2] == 0 {
			t.Errorf("%s: %v", prefix, n)
		}
	}

	// A process that opened before goes on, learns what it must, and what it writes is read.
	if got := restored(t, old, backupName(ts2, "x")); len(got) != 300<<10 {
		t.Errorf("%d bytes", len(got))
	}
	put(t, old, backupName(ts2, "y"), first, WriteOptions{})
	restored(t, w.with(w.a), backupName(ts2, "y"))

	// Who was left behind reads what was sealed before, and nothing else.
	if _, err := w.open("write", lost); !errors.Is(err, ErrWrongKey) || Hint(err) == "" {
		t.Errorf("write with a retired key: %v", err)
	}
	behind, err := w.open("read", lost)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(restored(t, behind, backupName(ts1, "x")), first) {
		t.Error("restored another stream")
	}
	err = behind.Restore(ctx, backupName(ts2, "x"), &bytes.Buffer{}, RestoreOptions{})
	if !errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "key epoch 2") || strings.Contains(err.Error(), "upgrade") || !strings.Contains(Hint(err), "rotated") {
		t.Errorf("a retired key, a new backup: %v, %q", err, Hint(err))
	}
	if table, err := behind.KeyTable(ctx); err != nil || table.Epoch != 2 || len(table.Slots) != 3 {
		t.Errorf("%+v, %v", table, err)
	}
	// The last that opens the newest epoch cannot go, though another is there.
	table, err := w.with(w.a).KeyTable(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range table.Slots {
		if s.Kind == "password" {
			if _, _, err := w.with(w.a).RemoveKey(ctx, s.ID, time.Now()); err != nil {
				t.Error(err)
			}
		}
	}
	if _, _, err := w.with(w.a).RemoveKey(ctx, keyFileOf(t, w.a), time.Now()); !errors.Is(err, ErrLastKey) {
		t.Errorf("remove the last key of the newest epoch: %v", err)
	}
	// Adding it again makes it one that opens all.
	w.add(w.a, lost)
	restored(t, w.with(lost), backupName(ts2, "x"))
	if n := len(w.rotate(lost, DropOthers).Slots); n != 1 {
		t.Errorf("%d slots after --drop-others", n)
	}
	if _, err := w.open("read", w.a); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a key that was dropped: %v", err)
	}
	restored(t, w.with(lost), backupName(ts1, "x"))
}

// TestUnknownEpochAfterRemoval: a process whose key was removed while it ran says so,
// and takes nothing for damaged.
func TestUnknownEpochAfterRemoval(t *testing.T) {
	w := newKeyWorld(t)
	old, b := w.with(w.a), Secret{KeyFile: testKeyFile(t)}
	w.add(w.a, b)
	w.rotate(b, DropOthers)
	put(t, w.with(b), backupName(ts1, "x"), randomText(1, 100<<10), WriteOptions{})
	err := old.Restore(ctx, backupName(ts1, "x"), &bytes.Buffer{}, RestoreOptions{})
	if !errors.Is(err, ErrWrongKey) || errors.Is(err, ErrDamaged) || errors.Is(err, storage.ErrNotExist) {
		t.Errorf("restore: %v", err)
	}
	if report, err := old.Check(ctx, CheckOptions{Level: CheckData}); err == nil && len(report.Damage) > 0 {
		t.Errorf("check: %+v", report.Damage)
	}
	// Key objects that are gone or damaged are not what is missing or damaged in a backup.
	for _, key := range append(w.keys(), configKey) {
		if err := w.st.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	err = old.Restore(ctx, backupName(ts1, "x"), &bytes.Buffer{}, RestoreOptions{})
	if err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, storage.ErrNotExist) || errors.Is(err, ErrNoStream) {
		t.Errorf("restore without keys/: %v", err)
	}
}

// TestExchangedSecret: a process that runs for long finds the new secret where the old
// one was.
func TestExchangedSecret(t *testing.T) {
	w := newKeyWorld(t)
	b := Secret{KeyFile: testKeyFile(t)}
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	w.add(w.a, Secret{PasswordFile: file})
	r := w.with(Secret{PasswordCommand: "cat " + file})
	w.add(w.a, b)
	w.rotate(b, DropOthers)
	write("two\n")
	w.add(b, Secret{PasswordFile: file})
	put(t, w.with(b), backupName(ts1, "x"), randomText(1, 100<<10), WriteOptions{})
	restored(t, r, backupName(ts1, "x"))
}

// TestKeyChangesAtOnce: of changes that run at once all take effect, one after the other.
func TestKeyChangesAtOnce(t *testing.T) {
	w := newKeyWorld(t)
	const n = 4
	secrets := []Secret{w.a}
	for range n {
		s := Secret{KeyFile: testKeyFile(t)}
		w.add(w.a, s)
		secrets = append(secrets, s)
	}
	repos := make([]*Repo, len(secrets))
	for i, s := range secrets {
		repos[i] = w.with(s)
	}
	var wg sync.WaitGroup
	added := Secret{KeyFile: testKeyFile(t)}
	for i := range n {
		wg.Go(func() {
			if _, _, err := repos[i].RotateKeys(ctx, RotateOptions{Also: secrets, Others: KeepOthers}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		if _, _, err := repos[n].AddKey(ctx, added, time.Now()); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	for _, s := range secrets {
		r := w.with(s)
		if got := r.keys.Ring().Numbers(); !slices.Equal(got, []uint16{1, 2, 3, 4, 5}) {
			t.Errorf("epochs %v", got)
		}
		// What any of them sealed, all read.
		name := backupName(ts1, keyFileOf(t, s))
		put(t, r, name, randomText(1, 10<<10), WriteOptions{})
		for _, other := range repos[:n] {
			restored(t, other, name)
		}
	}
	if _, err := w.open("read", added); err != nil {
		t.Error(err)
	}
	// Two removals cannot take each other's last slot.
	w.rotate(w.a, DropOthers, secrets[1])
	errs := make([]error, 2)
	for i := range 2 {
		r := w.with(secrets[i])
		wg.Go(func() { _, _, errs[i] = r.RemoveKey(ctx, keyFileOf(t, secrets[i]), time.Now()) })
	}
	wg.Wait()
	_, errA := w.open("write", secrets[0])
	_, errB := w.open("write", secrets[1])
	if (errA == nil) == (errB == nil) || (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("removed: %v, %v; open: %v, %v", errs[0], errs[1], errA, errB)
	}
}

// TestKeyChangeCrashes ends each change at each of its storage operations, before and
// after its effect: the repository opens with the secrets that were given, nothing that
// was sealed is lost, and the change can be made again.
func TestKeyChangeCrashes(t *testing.T) {
	crash := errors.New("crash")
	for _, change := range []string{"add", "rotate", "drop", "remove"} {
		for _, after := range []bool{false, true} {
			for at := 0; ; at++ {
				w := newKeyWorld(t)
				b, c := Secret{KeyFile: testKeyFile(t)}, Secret{KeyFile: testKeyFile(t)}
				w.add(w.a, b)
				put(t, w.with(w.a), backupName(ts1, "x"), randomText(1, 20<<10), WriteOptions{})
				do := func(r *Repo) (err error) {
					switch change {
					case "add":
						_, _, err = r.AddKey(ctx, c, time.Now())
					case "rotate":
						_, _, err = r.RotateKeys(ctx, RotateOptions{Also: []Secret{b}})
					case "drop":
						_, _, err = r.RotateKeys(ctx, RotateOptions{Others: DropOthers})
					case "remove":
						_, _, err = r.RemoveKey(ctx, keyFileOf(t, b), time.Now())
					}
					return err
				}
				r, n := w.with(w.a), -1
				w.st.SetHook(func(op, key string) mem.Fault {
					if !strings.HasPrefix(key, slotPrefix) && !strings.HasPrefix(key, featurePrefix) {
						return mem.Fault{}
					}
					n++
					switch {
					case n == at && after:
						return mem.Fault{After: crash}
					case n >= at:
						return mem.Fault{Before: crash}
					}
					return mem.Fault{}
				})
				err := do(r)
				w.st.SetHook(nil)
				crashed := errors.Is(err, crash)
				if err != nil && !crashed {
					t.Fatalf("%s, at %d: %v", change, at, err)
				}
				what := fmt.Sprintf("%s, crashed at %d (after its effect: %v)", change, at, after)
				must := []Secret{w.a}
				if change == "add" || change == "rotate" {
					must = append(must, b)
				}
				for _, s := range must {
					r, err := w.open("write", s)
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					restored(t, r, backupName(ts1, "x"))
					put(t, r, backupName(ts2, keyFileOf(t, s)), randomText(2, 20<<10), WriteOptions{})
				}
				if crashed {
					if err := do(r); err != nil && (change != "remove" || !errors.Is(err, ErrUsage)) {
						t.Errorf("%s: once more: %v", what, err)
					}
				}
				for _, s := range must {
					r := w.with(s)
					for _, by := range must {
						restored(t, r, backupName(ts2, keyFileOf(t, by)))
					}
				}
				if keys := w.keys(); len(keys) != 2 {
					t.Errorf("%s: left below keys/: %v", what, keys)
				}
				if !crashed {
					if at < 5 {
						t.Errorf("%s: only %d operations", change, at)
					}
					break
				}
			}
		}
	}
}

// TestKeySetDamaged: a set has a copy; without either nothing is guessed.
func TestKeySetDamaged(t *testing.T) {
	w := newKeyWorld(t)
	w.add(w.a, Secret{Password: "x"})
	keys := w.keys()
	w.st.Corrupt(keys[0], mem.FlipBit(800))
	r := w.with(w.a)
	report, err := r.Check(ctx, CheckOptions{})
	if err != nil || len(report.Damage) != 1 || report.Damage[0].Object != keys[0] {
		t.Errorf("check: %+v, %v", report, err)
	}
	w.rotate(w.a, DropOthers) // heals it
	if report, err = w.with(w.a).Check(ctx, CheckOptions{}); err != nil || len(report.Damage) != 0 {
		t.Errorf("check after another change: %+v, %v", report, err)
	}
	for _, key := range w.keys() {
		w.st.Corrupt(key, mem.FlipBit(800))
	}
	if _, err := w.open("read", w.a); !errors.Is(err, ErrDamaged) || Hint(err) == "" {
		t.Errorf("open with both damaged: %v", err)
	}
}

// TestKeysWithoutDelete: where nothing may be deleted, a rotation takes effect, and a
// removal says that it does not.
func TestKeysWithoutDelete(t *testing.T) {
	w := newKeyWorld(t)
	b := Secret{KeyFile: testKeyFile(t)}
	deny := func(op, key string) mem.Fault {
		if op == "delete" {
			return mem.Fault{Before: storage.ErrDenied}
		}
		return mem.Fault{}
	}
	w.st.SetHook(deny)
	w.add(w.a, b)
	if table := w.rotate(w.a, KeepOthers, b); len(table.Superseded) == 0 || table.Epoch != 2 {
		t.Errorf("%+v", table)
	}
	if got := w.with(b).keys.Ring().Newest(); got != 2 { // init's slot lies there still
		t.Errorf("the next process seals with epoch %d", got)
	}
	if got := w.with(w.a).keys.Ring().Newest(); got != 2 {
		t.Errorf("the next process seals with epoch %d", got)
	}
	before := w.st.Keys()
	if _, _, err := w.with(w.a).RemoveKey(ctx, keyFileOf(t, b), time.Now()); !errors.Is(err, storage.ErrDenied) || Hint(err) == "" {
		t.Errorf("remove: %v", err)
	}
	if after := w.st.Keys(); !slices.Equal(before, after) {
		t.Errorf("a refused removal changed %v to %v", before, after)
	}
	// Half refused: the set is put, and what was before stays.
	w.st.SetHook(func(op, key string) mem.Fault {
		if op == "delete" && key != slotPrefix+"none" {
			return mem.Fault{Before: storage.ErrDenied}
		}
		return mem.Fault{}
	})
	for range 2 { // the second time there is only the rest to do
		if _, _, err := w.with(w.a).RemoveKey(ctx, keyFileOf(t, b), time.Now()); !errors.Is(err, storage.ErrDenied) || Hint(err) == "" {
			t.Errorf("remove: %v", err)
		}
	}
	if _, err := w.open("write", b); !errors.Is(err, ErrWrongKey) {
		t.Errorf("the key that was removed, by half: %v", err)
	}
	w.st.SetHook(nil)
	if _, _, err := w.with(w.a).RemoveKey(ctx, keyFileOf(t, b), time.Now()); err != nil {
		t.Error(err)
	}
	if keys := w.keys(); len(keys) != 2 {
		t.Errorf("left: %v", keys)
	}
	if _, _, err := w.with(w.a).RemoveKey(ctx, keyFileOf(t, b), time.Now()); !errors.Is(err, ErrUsage) {
		t.Errorf("remove what is gone: %v", err)
	}
}

func TestKeysWithoutEncryption(t *testing.T) {
	r := newTestRepo(t, mem.New(), Secret{}, Options{})
	_, errList := r.KeyTable(ctx)
	_, _, errAdd := r.AddKey(ctx, Secret{Password: "x"}, time.Now())
	_, _, errRemove := r.RemoveKey(ctx, plainSlot, time.Now())
	_, _, errRotate := r.RotateKeys(ctx, RotateOptions{})
	for _, err := range []error{errList, errAdd, errRemove, errRotate} {
		if !errors.Is(err, ErrNoKeys) || !errors.Is(err, ErrUsage) || Hint(err) == "" {
			t.Error(err)
		}
	}
}

// TestRotationBesideCollector: prune, check and repair of processes that opened before
// a rotation, and after.
func TestRotationBesideCollector(t *testing.T) {
	w := newKeyWorld(t)
	put(t, w.with(w.a), backupName(ts1, "x"), randomText(1, 200<<10), WriteOptions{})
	before, err := w.open("gc", w.a)
	if err != nil {
		t.Fatal(err)
	}
	w.rotate(w.a, RefuseOthers)
	kept := randomText(1, 150<<10)
	put(t, w.with(w.a), backupName(ts2, "x"), kept, WriteOptions{Previous: []Name{backupName(ts1, "x")}})
	if err := w.with(w.a).Delete(ctx, backupName(ts1, "x")); err != nil {
		t.Fatal(err)
	}
	after, err := w.open("gc", w.a)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*Repo{before, after} {
		if _, err := r.Prune(ctx, PruneOptions{Exclusive: true}); err != nil {
			t.Error(err)
		}
		if report, err := r.Check(ctx, CheckOptions{Level: CheckData}); err != nil || len(report.Damage) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		if !bytes.Equal(restored(t, r, backupName(ts2, "x")), kept) {
			t.Error("restored another stream")
		}
	}
	// A copy with a ring of its own.
	to := newTestRepo(t, mem.New(), Secret{Password: "copy"}, Options{Limits: testLimits})
	if _, err := Copy(context.Background(), after, to, CopyOptions{}); err != nil {
		t.Error(err)
	}
	restored(t, to, backupName(ts2, "x"))
}

// TestOvertakenKeyChange: without conditional puts, the change that was overtaken sees
// the other one, and begins again with what that left.
func TestOvertakenKeyChange(t *testing.T) {
	fake := s3test.StartFake(t)
	fake.Conditions = s3test.Ignored
	st, err := target.OpenWith(fake.Location("p"), target.Options{Endpoint: fake.Endpoint, AccessKey: fake.AccessKey, SecretKey: fake.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	secret, pause := Secret{KeyFile: testKeyFile(t)}, func(context.Context, time.Duration) error { return nil }
	if _, err := Init(ctx, st, InitOptions{Secret: secret, Now: time.Now(), Target: &Target{}, Pause: pause}); err != nil {
		t.Fatal(err)
	}
	open := func() *Repo {
		r, err := Open(ctx, st, "write", Options{Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		r.pause = pause
		return r
	}
	if _, _, err := open().RotateKeys(ctx, RotateOptions{}); err != nil {
		t.Fatal(err)
	}
	r, times := open(), 0
	r.pause = func(context.Context, time.Duration) error {
		if times++; times > 1 {
			return nil
		}
		// Another change made its set the third revision at the same moment.
		other := open()
		state, err := other.readKeyState(ctx)
		if err != nil {
			return err
		}
		ring, _, err := state.set.open(other.config.ID, other.cred)
		if err != nil || state.set.Revision != 3 {
			t.Errorf("revision %d, %v", state.set.Revision, err)
		}
		next := *state.set
		next.ID, next.Epoch = newID().String()[:32], ring.Newest()
		for _, name := range []string{next.name(), next.name() + copySuffix} {
			object, err := encodeKeyObject(&next)
			if err = errors.Join(err, st.Put(ctx, slotPrefix+name, object)); err != nil {
				return err
			}
		}
		mark, err := encodeKeyObject(keyRevision{next.ID})
		fake.Replace("p/"+slotPrefix+revisionName(3), mark)
		return err
	}
	table, _, err := r.RotateKeys(ctx, RotateOptions{})
	if err != nil || times != 2 || table.Revision != 4 || table.Epoch <= 2 {
		t.Errorf("%+v after %d tries, %v", table, times, err)
	}
	if got := open().keys.Ring().Newest(); got != table.Epoch {
		t.Errorf("epoch %d, the table says %d", got, table.Epoch)
	}
}
