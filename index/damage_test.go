package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/gpdedup/gpdedup/digest"
)

// victim is a cache of one generation with three levels of pages, and the truth.
type victim struct {
	w     *world
	c     *Cache
	name  string
	data  []byte
	truth map[digest.ID]Location
	ids   []digest.ID // every 30th chunk
	super map[digest.ID][3]uint64
}

func newVictim(t testing.TB) *victim {
	w := newWorld()
	for i := range 8 {
		w.add(withFeatures(newRand(i), randomPack(newRand(i), 1000)), randomPack(newRand(100+i), 200))
	}
	x := &victim{w: w, c: testCache(t, CacheOptions{}), truth: map[digest.ID]Location{}, super: map[digest.ID][3]uint64{}}
	mustRefresh(t, x.c, w.list(), w.load)
	x.name = generationFiles(t, x.c)[0]
	x.data = must(os.ReadFile(x.name))
	for id, locs := range w.locations(w.order...) {
		if x.truth[id] = locs[0]; len(x.truth)%30 == 0 {
			x.ids = append(x.ids, id)
		}
	}
	for _, packs := range w.fragments {
		for _, e := range packs[0].Entries {
			x.super[e.ID] = e.Features
		}
	}
	return x
}

// restore undoes all damage, and the mark that a View may have made.
func (x *victim) restore(t testing.TB) {
	t.Helper()
	mustWrite(t, x.name, x.data)
	if err := os.RemoveAll(strings.TrimSuffix(x.name, generationSuffix) + badSuffix); err != nil {
		t.Fatal(err)
	}
}

// check looks chunks up, by name and by features: each is where it is, or is not
// found. It returns how many were found.
func (x *victim) check(t testing.TB, v *View, ids []digest.ID) (found int) {
	t.Helper()
	for _, id := range ids {
		if super, ok := x.super[id]; ok {
			if similar, got, ok := v.Similar(super, nil); ok && (similar != id || got != x.truth[id]) {
				t.Fatalf("similar to %s: %s at %+v", id.Short(), similar.Short(), got)
			}
		}
		if got, ok := v.Find(id, nil); ok {
			found++
			if got != x.truth[id] {
				t.Fatalf("%s: %+v; it is at %+v", id.Short(), got, x.truth[id])
			}
		}
	}
	return found
}

// noFragments is a Loader of a storage that is gone: only the generation is asked.
func noFragments(context.Context, digest.ID) ([]Pack, error) { return nil, errors.New("no storage") }

// patch writes to the file in place, so that mappings see it.
func (x *victim) patch(t testing.TB, at int64, b ...byte) {
	t.Helper()
	f := must(os.OpenFile(x.name, os.O_RDWR, 0))
	_, err := f.WriteAt(b, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// flips calls fn for damaged bytes: every one of a page's header and of the first
// elements of some pages, and many at random.
func (x *victim) flips(n int, fn func(at int64, b byte)) {
	r := rand.New(rand.NewPCG(1, 2))
	pages := len(x.data) / os.Getpagesize()
	for i := range n {
		at := r.Int64N(int64(len(x.data)))
		if i%2 == 0 { // in a header, or in one of the first elements
			at = int64(r.IntN(pages)*os.Getpagesize() + r.IntN(200))
		}
		fn(at, x.data[at]^byte(1<<r.IntN(8)))
	}
}

func TestFlippedBytes(t *testing.T) {
	x := newVictim(t)
	found, total := 0, 0
	x.flips(1500, func(at int64, b byte) {
		x.patch(t, at, b)
		v := must(x.c.View(context.Background(), x.w.list(), noFragments))
		found += x.check(t, v, x.ids)
		total += len(x.ids)
		_ = v.Close()
		x.patch(t, at, x.data[at])
		_ = os.Remove(strings.TrimSuffix(x.name, generationSuffix) + badSuffix)
	})
	if found == total || found < total/4 {
		t.Errorf("found %d of %d: the damage does not do what this test wants", found, total)
	}
}

func TestFlippedBytesWhileMapped(t *testing.T) {
	x := newVictim(t)
	v := must(x.c.View(context.Background(), x.w.list(), noFragments))
	defer func() { _ = v.Close() }()
	damaged := 0
	x.flips(2500, func(at int64, b byte) {
		x.patch(t, at, b)
		x.check(t, v, x.ids)
		x.patch(t, at, x.data[at])
		if v.Damaged() != nil {
			damaged++
			x.restore(t)
			_ = v.Close()
			v = must(x.c.View(context.Background(), x.w.list(), noFragments))
		}
	})
	if damaged == 0 {
		t.Error("no damage was noticed")
	}
}

func TestTruncated(t *testing.T) {
	x := newVictim(t)
	r := newRand(3)
	for i := range 150 {
		size := r.Int64N(int64(len(x.data)))
		if i < 20 {
			size = int64(i) * 1024
		}
		mapped := must(x.c.View(context.Background(), x.w.list(), noFragments))
		if err := os.Truncate(x.name, size); err != nil {
			t.Fatal(err)
		}
		x.check(t, mapped, x.ids)
		if mapped.Damaged() == nil && size < int64(len(x.data)/2) {
			t.Errorf("cut to %d bytes: not noticed", size)
		}
		_ = mapped.Close()
		if err := os.RemoveAll(strings.TrimSuffix(x.name, generationSuffix) + badSuffix); err != nil {
			t.Fatal(err)
		}
		opened := must(x.c.View(context.Background(), x.w.list(), noFragments))
		if x.check(t, opened, x.ids) != 0 || opened.Damaged() == nil {
			t.Errorf("cut to %d bytes: used", size)
		}
		_ = opened.Close()
		x.restore(t)
	}
}

// TestDamageIsRepaired: whatever is damaged, a Refresh that has to read all of the
// generation notices, and afterwards everything is found again.
func TestDamageIsRepaired(t *testing.T) {
	x := newVictim(t)
	x.w.add(randomPack(newRand(77), 1200)) // something new, so that there is a merge
	x.c.opts.MaxGenerations = 1
	all := make([]digest.ID, 0, len(x.truth))
	for id := range x.truth {
		all = append(all, id)
	}
	damaged := 0
	x.flips(30, func(at int64, b byte) {
		for _, name := range generationFiles(t, x.c) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		x.restore(t)
		x.patch(t, at, b)
		r := mustRefresh(t, x.c, x.w.list(), x.w.load)
		damaged += len(r.Damaged)
		v := must(x.c.View(context.Background(), x.w.list(), noLoad(t)))
		if n := x.check(t, v, all); n != len(all) || v.Damaged() != nil {
			t.Errorf("byte %d: %d of %d chunks found after %+v; %v", at, n, len(all), r, v.Damaged())
		}
		_ = v.Close()
	})
	if damaged < 5 {
		t.Errorf("damage noticed only %d times", damaged)
	}
}

// TestReaderTellsBuilder: damage deep in the file, that opening does not show, is
// reported, left out by other Views, and repaired by the next Refresh.
func TestReaderTellsBuilder(t *testing.T) {
	x := newVictim(t)
	id := x.ids[0]
	// Everywhere: a page that was written again leaves its old self behind.
	places := 0
	for from := 0; ; places++ {
		at := bytes.Index(x.data[from:], id[keySize:])
		if at < 0 {
			break
		}
		from += at + 20
		x.patch(t, int64(from), x.data[from]^1) // its pack's number, or its offset
	}
	if places == 0 {
		t.Fatal("chunk not in file")
	}
	v := mustView(t, x.c, x.w.list(), noFragments)
	if loc, ok := v.Find(id, nil); ok {
		t.Fatalf("wrong location %+v", loc)
	}
	if d := v.Damaged(); len(d) != 1 || !strings.HasPrefix(d[0], filepath.Base(x.name)) {
		t.Errorf("damaged: %v", d)
	}
	other := mustView(t, x.c, x.w.list(), noFragments)
	if d := other.Damaged(); len(d) != 1 || len(other.gens) != 0 {
		t.Errorf("another view uses the damaged generation: %v", d)
	}
	r := mustRefresh(t, x.c, x.w.list(), x.w.load)
	if len(r.Damaged) != 1 || r.Loaded != len(x.w.order) {
		t.Errorf("report %+v", r)
	}
	v = mustView(t, x.c, x.w.list(), noLoad(t))
	if n := x.check(t, v, x.ids); n != len(x.ids) {
		t.Errorf("%d of %d found", n, len(x.ids))
	}
	if files := must(os.ReadDir(x.c.dir)); len(files) != 2 { // the generation and the lock
		t.Errorf("left behind: %v", files)
	}
}

// TestPagesInACircle: a branch page that leads back to itself, which bbolt's own
// search follows until the stack overflows.
func TestPagesInACircle(t *testing.T) {
	x := newVictim(t)
	size := os.Getpagesize()
	changed := bytes.Clone(x.data)
	circles := 0
	for id := range len(x.data) / size {
		p := page(changed[id*size : (id+1)*size])
		if p.flags() != branchPage || binary.NativeEndian.Uint64(p) != uint64(id) {
			continue
		}
		for i := range p.count() {
			binary.NativeEndian.PutUint64(p[pageHeader+i*elementSize+8:], uint64(id))
			circles++
		}
	}
	if circles == 0 {
		t.Fatal("no branch pages")
	}
	mustWrite(t, x.name, changed)
	v := mustView(t, x.c, x.w.list(), noFragments)
	if n := x.check(t, v, x.ids); n != 0 || v.Damaged() == nil {
		t.Errorf("%d found, damaged %v", n, v.Damaged())
	}
	x.restore(t)
	mustWrite(t, x.name, changed)
	x.c.opts.MaxGenerations = 1
	x.w.add(randomPack(newRand(78), 1200))
	if r := mustRefresh(t, x.c, x.w.list(), x.w.load); len(r.Damaged) != 1 {
		t.Errorf("report %+v", r)
	}
}

// TestOtherVersion: a generation of a later program is no damage, and is replaced.
func TestOtherVersion(t *testing.T) {
	x := newVictim(t)
	db := must(bbolt.Open(x.name, 0o600, &bbolt.Options{Timeout: 1e9}))
	err := db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(metaBucket)).Put([]byte(versionKey), []byte{generationVersion + 1, 0, 0, 0})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	v := mustView(t, x.c, x.w.list(), noFragments)
	if n := x.check(t, v, x.ids); n != 0 || v.Damaged() != nil {
		t.Errorf("%d found, damaged %v", n, v.Damaged())
	}
	if r := mustRefresh(t, x.c, x.w.list(), x.w.load); r.Loaded != len(x.w.order) {
		t.Errorf("report %+v", r)
	}
}

// TestStrangeFiles: what else may lie about in the directory.
func TestStrangeFiles(t *testing.T) {
	w := newWorld()
	w.add(testPack(1, 1, 2))
	c := testCache(t, CacheOptions{})
	mustRefresh(t, c, w.list(), w.load)
	for name, data := range map[string]string{
		"index-7.db": "", "index-8.db": "short", "index-9.db": strings.Repeat("garbage ", 8192),
		"index-10.bad": "", "index-+1.db": "not ours", "index-007.db": "not ours", "tmp-old": "left over", "notes": "not ours",
	} {
		mustWrite(t, filepath.Join(c.dir, name), []byte(data))
	}
	if err := os.Mkdir(filepath.Join(c.dir, "index-12.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, ok := mustView(t, c, w.list(), noLoad(t)).Find(chunkID(1), nil); !ok {
		t.Error("miss")
	}
	w.add(testPack(2, 3))
	if r := mustRefresh(t, c, w.list(), w.load); r.Built != "index-13.db" || len(r.Damaged) != 4 {
		t.Errorf("report %+v", r)
	}
	v := mustView(t, c, w.list(), noLoad(t))
	for n := 1; n <= 3; n++ {
		if _, ok := v.Find(chunkID(n), nil); !ok {
			t.Errorf("chunk %d is missing", n)
		}
	}
	for name, want := range map[string]bool{"tmp-old": false, "index-9.db": false, "index-10.bad": false, "notes": true, "index-007.db": true} {
		if _, err := os.Stat(filepath.Join(c.dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLostEntryIsNoticed: a page that says it holds one entry less is sound to look
// at. Only counting shows it, so that a merge does not carry the loss on for ever.
func TestLostEntryIsNoticed(t *testing.T) {
	x := newVictim(t)
	size := os.Getpagesize()
	at := bytes.Index(x.data, x.ids[0][keySize:]) / size * size
	p := page(x.data[at : at+size])
	if p.flags() != leafPage || p.count() < 2 {
		t.Fatalf("page of type %d with %d elements", p.flags(), p.count())
	}
	x.patch(t, int64(at)+10, binary.NativeEndian.AppendUint16(nil, uint16(p.count()-1))...)
	x.c.opts.MaxGenerations = 1
	x.w.add(randomPack(newRand(78), 1200))
	if r := mustRefresh(t, x.c, x.w.list(), x.w.load); len(r.Damaged) != 1 || r.Loaded != len(x.w.order) {
		t.Errorf("report %+v", r)
	}
}
