package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// copyPair is a repository with some days of a table, and one to copy it to.
type copyPair struct {
	a, b     *mem.Store
	from, to *Repo
	content  map[Name][]byte
	keyA     Secret
	keyB     Secret
}

func newCopyTarget(t failer, st storage.Storage, secret Secret, from *Repo, shared bool) *Repo {
	t.Helper()
	o := InitOptions{Secret: secret, Now: time.Unix(1700000000, 0), ChunkSize: MinChunkSize}
	if shared {
		o.ChunkSize, o.ChunkerFrom = 0, from
	}
	if _, err := Init(ctx, st, o); err != nil {
		t.Fatal(err)
	}
	return openCopyTarget(t, st, secret)
}

func openCopyTarget(t failer, st storage.Storage, secret Secret) *Repo {
	t.Helper()
	r, err := Open(ctx, st, "write", Options{Secret: secret, Limits: testLimits})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newKey returns the secret of a new key file: to open with it takes no time.
func newKey(t *testing.T) Secret {
	t.Helper()
	path := t.TempDir() + "/key"
	if err := CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	return Secret{KeyFile: path}
}

// newCopyPair stores days of a table with scattered changes, small streams, a wrapped one
// and a named one.
func newCopyPair(t *testing.T, shared bool, days int) *copyPair {
	t.Helper()
	p := &copyPair{a: mem.New(), b: mem.New(), content: make(map[Name][]byte), keyA: newKey(t), keyB: newKey(t)}
	p.from = newTestRepo(t, p.a, p.keyA, Options{Limits: testLimits, Delta: DeltaOn})
	p.to = newCopyTarget(t, p.b, p.keyB, p.from, shared)
	data := randomText(1, 512<<10)
	var before []Name
	for day := range days {
		ts := fmt.Sprintf("202611%02d000000", day+1)
		add := func(n Name, data []byte, o WriteOptions) {
			o.Origin = manifest.Origin{Host: "sdw1", Path: "/data/" + n.Item, Time: time.Unix(1700000000+int64(day), 0).UTC()}
			put(t, p.from, n, data, o)
			p.content[n] = data
		}
		big := backupName(ts, "gpbackup_0_"+ts+"_1")
		add(big, data, WriteOptions{Previous: before})
		before = []Name{big}
		add(backupName(ts, "gpbackup_"+ts+"_config.yaml"), []byte("timestamp: "+ts), WriteOptions{})
		add(backupName(ts, "gpbackup_1_"+ts+"_1"), nil, WriteOptions{})
		add(backupName(ts, "gpbackup_0_"+ts+"_2.gz"), randomText(7, 100<<10), takenOff(manifest.Gzip, 0))
		add(Name{Named, "web", "log", fmt.Sprint("v", day)}, randomText(uint64(day), 100<<10), WriteOptions{})
		add(Name{Base, "web", "0", "base" + ts}, randomText(uint64(100+day), 100<<10), WriteOptions{})
		data = scattered(uint64(day), data, 3000)
	}
	return p
}

// same checks that all streams, or those that choose picks, are in the target what they
// are in the source, that their origins are the same, and that the target is whole.
func (p *copyPair) same(t *testing.T, choose func(Name) bool) {
	t.Helper()
	for n, want := range p.content {
		if choose != nil && !choose(n) {
			if _, err := p.to.Stream(ctx, n); !errors.Is(err, ErrNoStream) && !errors.Is(err, ErrDeleted) {
				t.Errorf("%s was copied too: %v", n, err)
			}
			continue
		}
		var out bytes.Buffer
		if err := p.to.Restore(ctx, n, &out, RestoreOptions{Unwrapped: true}); err != nil || !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%s: %v, %d of %d bytes", n, err, out.Len(), len(want))
			continue
		}
		a, err := p.from.Stream(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.to.Stream(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		if a.Origin != b.Origin || a.Wrapping != b.Wrapping || a.Tail != b.Tail || a.Length != b.Length {
			t.Errorf("%s: %+v became %+v", n, a.Origin, b.Origin)
		}
		if p.from.keys.SharesNames(p.to.keys) && a.Identity != b.Identity {
			t.Errorf("%s: another identity", n)
		}
	}
	mustBeWhole(t, p.to)
}

func mustBeWhole(t failer, r *Repo) {
	t.Helper()
	report, err := r.Check(ctx, CheckOptions{Level: CheckData})
	if err != nil || len(report.Damage) != 0 {
		t.Fatal("check:", err, report)
	}
}

func mustCopy(t *testing.T, from, to *Repo, o CopyOptions) *CopyReport {
	t.Helper()
	report, err := Copy(ctx, from, to, o)
	if err != nil {
		t.Fatalf("copy: %v", err)
	}
	return report
}

func storedBytes(t failer, st storage.Storage) (n int64) {
	t.Helper()
	err := st.List(ctx, "", func(i storage.Info) error {
		n += i.Size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCopy: everything arrives, and only once; where chunk names are shared it takes what
// it takes in the source, for deltas stay deltas.
func TestCopy(t *testing.T) {
	for _, shared := range []bool{true, false} {
		p := newCopyPair(t, shared, 4)
		var seen, total int64
		dry := mustCopy(t, p.from, p.to, CopyOptions{DryRun: true})
		before := p.b.Keys()
		report := mustCopy(t, p.from, p.to, CopyOptions{Progress: func(n, of int64) { seen, total = n, of }})
		if report.Streams != len(p.content) || report.Already != 0 || report.SharedChunks != shared || seen != total || uint64(seen) != report.Bytes {
			t.Errorf("shared %v: %+v, progress %d of %d", shared, report, seen, total)
		}
		if dry.Streams != report.Streams || dry.Bytes != report.Bytes || len(before) != 2 {
			t.Errorf("a dry run said %+v and left %q", dry, before)
		}
		if shared && (dry.NewChunks < report.NewChunks*9/10 || dry.NewChunks > report.NewChunks) {
			t.Errorf("a dry run said %d new chunks, not %d", dry.NewChunks, report.NewChunks)
		}
		p.same(t, nil)
		most := storedBytes(t, p.a) * 21 / 20
		if !shared { // other cuts, other bases
			most = most * 5 / 4
		}
		if a, b := storedBytes(t, p.a), storedBytes(t, p.b); b > most {
			t.Errorf("shared %v: %d bytes became %d", shared, a, b)
		}
		keys := p.b.Keys()
		p.b.SetHook(func(op, key string) mem.Fault {
			if op == "put" {
				t.Errorf("the same again puts %s", key)
			}
			return mem.Fault{}
		})
		reads := p.a.Counts()["read"]
		report = mustCopy(t, p.from, p.to, CopyOptions{})
		p.b.SetHook(nil)
		if report.Already != len(p.content) || report.Streams != 0 || !slices.Equal(p.b.Keys(), keys) || p.a.Counts()["read"] != reads {
			t.Errorf("the same again: %+v, %d reads", report, p.a.Counts()["read"]-reads)
		}
		if shared {
			// The next backup that is stored in the target finds what is similar.
			next := put(t, p.to, backupName("20261201000000", "t"), scattered(99, p.content[backupName("20261104000000", "gpbackup_0_20261104000000_1")], 3000), WriteOptions{})
			if next.Stats.DeltaChunks*2 < next.Stats.NewChunks {
				t.Errorf("the next backup: %+v", next.Stats)
			}
		}
		dry = mustCopy(t, p.from, p.to, CopyOptions{DryRun: true})
		if dry.Streams != 0 || dry.Already != len(p.content) {
			t.Errorf("a dry run of the same again: %+v", dry)
		}
	}
}

// TestCopyChosen: chosen timestamps and namespaces, and no more. A base that only a day
// that was not chosen roots comes along.
func TestCopyChosen(t *testing.T) {
	p := newCopyPair(t, true, 4)
	mustCopy(t, p.from, p.to, CopyOptions{Timestamps: []string{"20261103000000"}, Namespaces: []string{"default"}})
	p.same(t, func(n Name) bool { return n.Group == "20261103000000" })
	m, err := p.to.Stream(ctx, backupName("20261103000000", "gpbackup_0_20261103000000_1"))
	if err != nil || m.Stats.DeltaChunks == 0 {
		t.Errorf("no deltas were copied: %v", err)
	}
	mustCopy(t, p.from, p.to, CopyOptions{Namespaces: []string{"web"}})
	p.same(t, func(n Name) bool { return n.Group == "20261103000000" || n.Namespace == "web" })
	_, err = Copy(ctx, p.from, p.to, CopyOptions{Timestamps: []string{"20200101000000", "20261101000000"}})
	if !errors.Is(err, ErrNoStream) {
		t.Errorf("an unknown timestamp: %v", err)
	}
	p.same(t, func(n Name) bool {
		return n.Group == "20261103000000" || n.Group == "20261101000000" || n.Namespace == "web"
	})
	if _, err = Copy(ctx, p.from, p.to, CopyOptions{Namespaces: []string{"none"}}); !errors.Is(err, ErrNoStream) {
		t.Errorf("an unknown namespace: %v", err)
	}
	if _, err = Copy(ctx, p.from, p.from, CopyOptions{}); !errors.Is(err, ErrUsage) {
		t.Errorf("onto itself: %v", err)
	}
}

// TestCopyConflicts: what is deleted here or there, and what is other content there, is
// named and left alone; all else is copied.
func TestCopyConflicts(t *testing.T) {
	for _, shared := range []bool{true, false} {
		p := newCopyPair(t, shared, 3)
		big := func(day string) Name { return backupName("202611"+day+"000000", "gpbackup_0_202611"+day+"000000_1") }
		put(t, p.to, big("01"), randomText(99, 512<<10), WriteOptions{})
		if err := errors.Join(p.from.Delete(ctx, big("02")), p.to.Delete(ctx, big("03"))); err != nil {
			t.Fatal(err)
		}
		report, err := Copy(ctx, p.from, p.to, CopyOptions{})
		if !errors.Is(err, ErrConflict) || !errors.Is(err, ErrDeleted) || len(report.Problems) != 2 ||
			report.Problems[0].Object != "gp/default/"+big("01").String() || report.Problems[1].Object != "gp/default/20261103000000" ||
			!slices.Equal(report.Deleted, []string{"gp/default/20261102000000"}) {
			t.Fatalf("shared %v: %v, %+v", shared, err, report)
		}
		if got := restored(t, p.to, big("01")); !bytes.Equal(got, randomText(99, 512<<10)) {
			t.Error("what was there is not what it was")
		}
		delete(p.content, big("01"))
		p.same(t, func(n Name) bool { return n.Group != "20261102000000" && n.Group != "20261103000000" })
		if _, err := Copy(ctx, p.from, p.to, CopyOptions{Timestamps: []string{"20261102000000"}}); !errors.Is(err, ErrDeleted) {
			t.Errorf("a deleted timestamp that was asked for: %v", err)
		}
		// What the target has from elsewhere is compared by content.
		q := newCopyPair(t, shared, 1)
		put(t, q.to, big("01"), q.content[big("01")], WriteOptions{})
		if report := mustCopy(t, q.from, q.to, CopyOptions{}); report.Already != 1 {
			t.Errorf("shared %v: %+v", shared, report)
		}
	}
}

// TestCopyGoesOn: a copy whose storage fails at any point leaves nothing that is wrong,
// and the next one does not bring again what had arrived.
func TestCopyGoesOn(t *testing.T) {
	for _, shared := range []bool{true, false} {
		p := newCopyPair(t, shared, 3)
		puts := 0
		whole := p.b.Clone()
		mustCopy(t, p.from, openCopyTarget(t, whole, p.keyB), CopyOptions{})
		for _, key := range whole.Keys() {
			if !strings.HasPrefix(key, "config") && !strings.HasPrefix(key, "keys") {
				puts++
			}
		}
		for at := 0; at < puts; at += 1 + puts/5 {
			crashed := p.b.Clone()
			var n atomic.Int64
			crashed.SetHook(func(op, key string) mem.Fault {
				if op == "put" && n.Add(1) > int64(at) {
					return mem.Fault{Before: storage.ErrNoSpace}
				}
				return mem.Fault{}
			})
			r := openCopyTarget(t, crashed, p.keyB)
			if _, err := Copy(ctx, p.from, r, CopyOptions{}); !errors.Is(err, storage.ErrNoSpace) {
				t.Fatalf("full after %d puts: %v", at, err)
			}
			mustBeWhole(t, r)
			crashed.SetHook(nil)
			had := storedBytes(t, crashed)
			report := mustCopy(t, p.from, r, CopyOptions{})
			if report.Streams+report.Already != len(p.content) {
				t.Errorf("%+v", report)
			}
			q := *p
			q.b, q.to = crashed, r
			q.same(t, nil)
			// Streams in flight, at most so many packs each, may come twice.
			if most := storedBytes(t, whole) + had/2 + 1<<20; storedBytes(t, crashed) > most {
				t.Errorf("after %d puts: %d bytes, whole %d", at, storedBytes(t, crashed), storedBytes(t, whole))
			}
		}
	}
}

// TestCopyGoesOnInAStream: of a stream that broke off, what its fragments name is not
// brought again.
func TestCopyGoesOnInAStream(t *testing.T) {
	a, b := mem.New(), mem.New()
	from := newTestRepo(t, a, Secret{}, Options{Limits: testLimits})
	to := newCopyTarget(t, b, Secret{}, from, true)
	to.opts.Limits.CheckpointBytes = 256 << 10
	name := backupName("20261101000000", "t")
	data := randomText(1, 4<<20)
	put(t, from, name, data, WriteOptions{})
	var n atomic.Int64
	b.SetHook(func(op, key string) mem.Fault {
		if op == "put" && strings.HasPrefix(key, packPrefix) && n.Add(1) > 12 {
			return mem.Fault{Before: storage.ErrNoSpace}
		}
		return mem.Fault{}
	})
	if _, err := Copy(ctx, from, to, CopyOptions{}); !errors.Is(err, storage.ErrNoSpace) {
		t.Fatal(err)
	}
	b.SetHook(nil)
	if items, err := to.AllItems(ctx); err != nil || len(items) != 1 || items[0].Checkpoints == 0 || items[0].Complete() {
		t.Errorf("%+v, %v", items, err)
	}
	mustBeWhole(t, to)
	report := mustCopy(t, from, to, CopyOptions{})
	if report.NewBytes*4 > 3*report.Bytes {
		t.Errorf("after 12 packs: %+v", report)
	}
	if !bytes.Equal(restored(t, to, name), data) {
		t.Error("restored stream differs")
	}
}

// TestCopyLostAcknowledgements: each put takes effect, and every third says that it failed.
func TestCopyLostAcknowledgements(t *testing.T) {
	p := newCopyPair(t, true, 2)
	var n atomic.Int64
	lost := errors.New("connection reset")
	p.b.SetHook(func(op, key string) mem.Fault {
		if op == "put" && n.Add(1)%3 == 0 {
			return mem.Fault{After: lost}
		}
		return mem.Fault{}
	})
	for try := 0; ; try++ {
		_, err := Copy(ctx, p.from, p.to, CopyOptions{})
		if err == nil {
			break
		}
		if !errors.Is(err, lost) || try > 100 {
			t.Fatalf("try %d: %v", try, err)
		}
	}
	p.b.SetHook(nil)
	p.same(t, nil)
}

// TestCopyOfDamage: every pack of the source is damaged in turn. What cannot be read is
// named and not there; all else is, and right.
func TestCopyOfDamage(t *testing.T) {
	for _, shared := range []bool{true, false} {
		p := newCopyPair(t, shared, 3)
		ids := packs(p.a)
		for i := 0; i < len(ids); i += 1 + len(ids)/3 {
			broken := p.a.Clone()
			broken.Corrupt(packKey(ids[i]), mem.FlipBit(8*200))
			from, err := Open(ctx, broken, "read", Options{Secret: p.keyA, Limits: testLimits})
			if err != nil {
				t.Fatal(err)
			}
			b := p.b.Clone()
			to := openCopyTarget(t, b, p.keyB)
			report, err := Copy(ctx, from, to, CopyOptions{})
			named := make(map[string]bool)
			for _, problem := range report.Problems {
				named[problem.Object] = true
			}
			if (err != nil) != (len(named) > 0) || err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("%v, %+v", err, report.Problems)
			}
			for n, want := range p.content {
				readable := from.Restore(ctx, n, io.Discard, RestoreOptions{}) == nil
				if readable == named[describe(n)] {
					t.Errorf("shared %v: %s: readable %v, named %v", shared, n, readable, named[describe(n)])
				}
				var out bytes.Buffer
				err := to.Restore(ctx, n, &out, RestoreOptions{Unwrapped: true})
				if readable && (err != nil || !bytes.Equal(out.Bytes(), want)) || !readable && !errors.Is(err, ErrNoStream) {
					t.Errorf("shared %v: %s: readable %v, copy: %v", shared, n, readable, err)
				}
			}
			mustBeWhole(t, to)
		}
	}
}

// TestCopyChecksNames: a chunk that opens and is not what its name says, a base among
// them, is damage like any other.
func TestCopyChecksNames(t *testing.T) {
	for _, shared := range []bool{true, false} {
		a, b := mem.New(), mem.New()
		from := newTestRepo(t, a, Secret{}, Options{Limits: testLimits, Compression: compress.Off, Delta: DeltaOn})
		to := newCopyTarget(t, b, Secret{}, from, shared)
		one, two := backupName("20261101000000", "t"), backupName("20261102000000", "t")
		data := randomText(1, 300<<10)
		put(t, from, one, data, WriteOptions{})
		put(t, from, two, scattered(1, data, 3000), WriteOptions{Previous: []Name{one}})
		m, err := from.Stream(ctx, one)
		if err != nil {
			t.Fatal(err)
		}
		err = from.newFetcher().eachRows(ctx, m, func(table *manifest.Table) error {
			if len(table.Rows) == 0 {
				return nil
			}
			row := &table.Rows[0]
			s, err := from.newFetcher().sealer(ctx, table.Packs[row.Pack])
			if err != nil {
				return err
			}
			a.Corrupt(packKey(table.Packs[row.Pack].ID), func(object []byte) []byte {
				box := object[row.Offset:][:row.Stored]
				payload, err := s.Open(nil, uint64(row.Ordinal), row.ID[:], box)
				if err != nil {
					t.Fatal(err)
				}
				payload[len(payload)-1]++
				copy(box, s.Seal(nil, uint64(row.Ordinal), row.ID[:], payload))
				return object
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []Name{one, two} {
			report, err := Copy(ctx, from, to, CopyOptions{Timestamps: []string{n.Group}})
			broken := from.Restore(ctx, n, io.Discard, RestoreOptions{}) != nil
			if n == one && !broken || broken != errors.Is(err, ErrDamaged) || broken != (report.Streams == 0) {
				t.Errorf("shared %v: %s: broken %v: %v, %+v", shared, n, broken, err, report)
			}
		}
		mustBeWhole(t, to)
	}
}

// TestCopyChecksIdentity: a list of chunks that is not the stream's is damage.
func TestCopyChecksIdentity(t *testing.T) {
	for _, shared := range []bool{true, false} {
		p := newCopyPair(t, shared, 1)
		for n := range p.content {
			m, err := p.from.Stream(ctx, n)
			if err != nil {
				t.Fatal(err)
			}
			m.Identity[0]++
			object, err := p.from.sealManifest(n.Key(), m)
			if err != nil {
				t.Fatal(err)
			}
			p.a.Corrupt(n.Key(), func([]byte) []byte { return object })
		}
		report, err := Copy(ctx, p.from, p.to, CopyOptions{})
		if !errors.Is(err, ErrDamaged) || len(report.Problems) != len(p.content) || report.Streams != 0 {
			t.Errorf("shared %v: %v, %+v", shared, err, report)
		}
	}
}

// TestCopyOfMoved: where prune has moved chunks, what manifests say of them is no good any
// more; they are copied as they are encoded nevertheless.
func TestCopyOfMoved(t *testing.T) {
	p := newCopyPair(t, true, 3)
	old := packs(p.a)
	condemn(t, p.from, "1", gcList{ids: old})
	// The look gives everything another location.
	items, err := p.from.AllItems(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		m, err := p.from.Stream(ctx, item.Name)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := p.from.packsOf(ctx, m)
		if err == nil {
			err = p.from.look(ctx, item.Name, m, ids)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sweep(t, p.a, old)
	mustCopy(t, p.from, p.to, CopyOptions{})
	p.same(t, nil)
	m, err := p.to.Stream(ctx, backupName("20261103000000", "gpbackup_0_20261103000000_1"))
	if err != nil || m.Stats.DeltaChunks == 0 {
		t.Errorf("deltas became whole chunks: %+v, %v", m.Stats, err)
	}
}

// TestCopyBesideACollector: packs of the target are condemned at every step of a copy, and
// swept after it. What was acknowledged restores.
func TestCopyBesideACollector(t *testing.T) {
	for _, when := range []string{"before", "list " + indexPrefix, "put " + packPrefix, "put " + indexPrefix, "put " + manifestPrefix} {
		t.Run(when, func(t *testing.T) {
			p := newCopyPair(t, true, 4)
			// A part is there already, deltas with their bases.
			mustCopy(t, p.from, p.to, CopyOptions{Timestamps: []string{"20261101000000", "20261102000000"}})
			old := packs(p.b)
			var done atomic.Bool
			strike := func() {
				if !done.Swap(true) {
					condemn(t, p.to, "1", gcList{ids: old})
				}
			}
			if when == "before" {
				strike()
			}
			p.b.SetHook(func(op, key string) mem.Fault {
				if strings.HasPrefix(op+" "+key, when) {
					strike()
				}
				return mem.Fault{}
			})
			mustCopy(t, p.from, p.to, CopyOptions{})
			p.b.SetHook(nil)
			if !done.Load() {
				t.Fatal("nothing was condemned")
			}
			// Also of what was there before: "stored already" comes after a look.
			if when != "put "+manifestPrefix && when != "put "+packPrefix && when != "put "+indexPrefix {
				sweep(t, p.b, old)
				p.same(t, nil)
				return
			}
			mustCopy(t, p.from, p.to, CopyOptions{}) // the days that were there before the list came
			sweep(t, p.b, old)
			p.same(t, nil)
		})
	}
}

// TestCopyDeletedMeanwhile: a root that is deleted in the target between a stream's first
// look and its last is a conflict.
func TestCopyDeletedMeanwhile(t *testing.T) {
	p := newCopyPair(t, true, 1)
	big := backupName("20261101000000", "gpbackup_0_20261101000000_1")
	p.b.SetHook(func(op, key string) mem.Fault {
		if op == "put" && key == big.Key() {
			if err := p.to.Delete(ctx, big); err != nil {
				t.Error(err)
			}
		}
		return mem.Fault{}
	})
	if _, err := Copy(ctx, p.from, p.to, CopyOptions{}); !errors.Is(err, ErrDeleted) {
		t.Errorf("copy: %v", err)
	}
	// Of what was there already, too.
	q := newCopyPair(t, true, 1)
	mustCopy(t, q.from, q.to, CopyOptions{})
	q.b.SetHook(func(op, key string) mem.Fault {
		if op == "get" && key == big.Key() {
			if err := q.to.Delete(ctx, big); err != nil {
				t.Error(err)
			}
		}
		return mem.Fault{}
	})
	if _, err := Copy(ctx, q.from, q.to, CopyOptions{}); !errors.Is(err, ErrDeleted) {
		t.Errorf("the same again: %v", err)
	}
}

// TestCopyOrder: at no moment does the target hold anything that needs what is not there.
func TestCopyOrder(t *testing.T) {
	p := newCopyPair(t, true, 2)
	p.to.opts.Limits.CheckpointBytes = 256 << 10
	p.b.SetHook(func(op, key string) mem.Fault {
		if op == "put" {
			mustBeWhole(t, openCopyTarget(t, p.b.Clone(), p.keyB))
		}
		return mem.Fault{}
	})
	mustCopy(t, p.from, p.to, CopyOptions{})
}

// TestCopyDepth: a base that lies deeper in the target than in the source does not make
// chains longer than they may be.
func TestCopyDepth(t *testing.T) {
	p := newCopyPair(t, true, 6)
	p.to.config.DeltaDepth = 2
	mustCopy(t, p.from, p.to, CopyOptions{})
	p.same(t, nil)
	for n := range p.content {
		m, err := p.to.Stream(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Table.Rows {
			if m.Table.Rows[i].Depth > 2 {
				t.Errorf("%s: depth %d", n, m.Table.Rows[i].Depth)
			}
		}
	}
}

// TestCopyProperty: random repositories, copied in random steps: what restores from the
// one restores from the other.
func TestCopyProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := mem.New(), mem.New()
		secret := Secret{}
		if _, err := Init(ctx, a, InitOptions{ChunkSize: MinChunkSize, Now: time.Unix(1700000000, 0)}); err != nil {
			t.Fatal(err)
		}
		limits := testLimits
		limits.DirectRows = rapid.SampledFrom([]int{2, 16, 1024}).Draw(t, "direct rows")
		limits.PackMin = rapid.SampledFrom([]int{32 << 10, 256 << 10}).Draw(t, "pack")
		from, err := Open(ctx, a, "write", Options{Limits: limits, Delta: DeltaOn})
		if err != nil {
			t.Fatal(err)
		}
		from.config.DeltaDepth = uint8(rapid.IntRange(1, 4).Draw(t, "depth"))
		to := newCopyTarget(t, b, secret, from, rapid.Bool().Draw(t, "shared"))
		content := make(map[Name][]byte)
		data := randomText(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 600<<10).Draw(t, "length"))
		for day := range rapid.IntRange(1, 5).Draw(t, "days") {
			ts := fmt.Sprintf("202611%02d000000", day+1)
			n := backupName(ts, "t")
			var o WriteOptions
			if day > 0 && rapid.Bool().Draw(t, "previous") {
				o.Previous = []Name{backupName(fmt.Sprintf("202611%02d000000", day), "t")}
			}
			put(t, from, n, data, o)
			content[n] = data
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				if _, err := Copy(ctx, from, to, CopyOptions{Timestamps: []string{ts}}); err != nil {
					t.Fatal(err)
				}
			case 1:
				if _, err := Copy(ctx, from, to, CopyOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if len(data) > 10000 && rapid.Bool().Draw(t, "insert") {
				at := rapid.IntRange(0, len(data)).Draw(t, "at")
				data = slices.Concat(data[:at], randomText(uint64(day), 5000), data[at:])
			}
			data = scattered(uint64(day), data, rapid.IntRange(500, 20000).Draw(t, "every"))
		}
		if _, err := Copy(ctx, from, to, CopyOptions{}); err != nil {
			t.Fatal(err)
		}
		for n, want := range content {
			var out bytes.Buffer
			if err := to.Restore(ctx, n, &out, RestoreOptions{}); err != nil || !bytes.Equal(out.Bytes(), want) {
				t.Fatalf("%s: %v, %d of %d bytes", n, err, out.Len(), len(want))
			}
		}
		mustBeWhole(t, to)
	})
}

// TestInitSharing: chunk names are shared where both or neither are encrypted, and keys
// are never shared.
func TestInitSharing(t *testing.T) {
	for _, c := range []struct {
		a, b Secret
		size int
		ok   bool
	}{
		{Secret{}, Secret{}, 0, true},
		{Secret{Password: "a"}, Secret{Password: "b"}, 0, true},
		{Secret{Password: "a"}, Secret{}, 0, false},
		{Secret{}, Secret{Password: "b"}, 0, false},
		{Secret{}, Secret{}, MinChunkSize, false},
	} {
		from := newTestRepo(t, mem.New(), c.a, Options{})
		st := mem.New()
		_, err := Init(ctx, st, InitOptions{Secret: c.b, ChunkerFrom: from, ChunkSize: c.size, Now: time.Unix(1700000000, 0)})
		if (err == nil) != c.ok || err != nil && (!errors.Is(err, ErrUsage) || len(st.Keys()) != 0) {
			t.Errorf("%+v: %v, %q", c, err, st.Keys())
		}
		if err != nil {
			continue
		}
		to := openCopyTarget(t, st, c.b)
		if !from.keys.SharesNames(to.keys) || to.config.Chunks != from.config.Chunks || to.config.ID == from.config.ID {
			t.Error("not shared")
		}
		object, err := from.keys.SealDocument(seal.Tombstone, "x", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.keys.OpenDocument(seal.Tombstone, "x", object, to.dec); err == nil {
			t.Error("keys are shared too")
		}
		var id digest.ID
		if from.keys.Namer().Sum([]byte("x")) != to.keys.Namer().Sum([]byte("x")) || from.keys.Namer().Sum([]byte("x")) == id {
			t.Error("names differ")
		}
	}
}

// TestCopyAndPrune: a source whose packs were rewritten, and a target that is pruned
// between copies.
func TestCopyAndPrune(t *testing.T) {
	for _, shared := range []bool{true, false} {
		p := newCopyPair(t, shared, 4)
		mustCopy(t, p.from, p.to, CopyOptions{Timestamps: []string{"20261101000000", "20261102000000"}, Namespaces: []string{"default"}})
		first := backupName("20261101000000", "x")
		for _, r := range []*Repo{p.from, p.to} {
			err := r.Delete(ctx, first)
			if err == nil {
				_, err = r.Prune(ctx, PruneOptions{RepackSmall: true})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for n := range p.content {
			if n.Group == first.Group {
				delete(p.content, n)
			}
		}
		mustCopy(t, p.from, p.to, CopyOptions{})
		p.same(t, nil)
	}
}
