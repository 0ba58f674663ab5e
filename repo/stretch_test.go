package repo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// chained stores days of a stream, each a delta against the day before, and returns the last.
func chained(t *testing.T, st storage.Storage, limits Limits, days int) (*Repo, Name, []byte) {
	t.Helper()
	r := newTestRepo(t, st, Secret{Password: "x"}, Options{Limits: limits, Delta: DeltaOn})
	data := randomText(1, 2<<20)
	name := backupName("20261101000000", "t")
	put(t, r, name, data, WriteOptions{})
	for day := 1; day < days; day++ {
		data = scattered(uint64(day), data, 8000)
		before := name
		name = backupName(fmt.Sprintf("202611%02d000000", day+1), "t")
		put(t, r, name, data, WriteOptions{Previous: []Name{before}})
	}
	return r, name, data
}

// TestChainsAreReadInStretches: a month of deltas costs some requests more than the first
// day, not a multiple of them.
func TestChainsAreReadInStretches(t *testing.T) {
	const days = 20
	meter := storage.NewMeter(mem.New())
	limits := Limits{Inline: 1 << 10}
	r, last, data := chained(t, meter, limits, days)
	requests := func(name Name, want []byte) uint64 {
		before := meter.Usage().Read.Requests
		if got := restored(t, r, name); want != nil && !bytes.Equal(got, want) {
			t.Fatalf("%s differs", name)
		}
		return meter.Usage().Read.Requests - before
	}
	first := requests(backupName("20261101000000", "t"), nil)
	if n := requests(last, data); n > first+4*days {
		t.Errorf("%d requests for day %d, %d for the first", n, days, first)
	}
	m, err := r.Stream(ctx, last)
	if err != nil {
		t.Fatal(err)
	}
	deepest := uint8(0)
	for i := range m.Table.Rows {
		deepest = max(deepest, m.Table.Rows[i].Depth)
	}
	if deepest < days/2 {
		t.Fatalf("chains are no longer than %d", deepest)
	}
	// Of a range only what it needs is read.
	before := meter.Usage().Read.Bytes
	var out bytes.Buffer
	if err := r.Restore(ctx, last, &out, RestoreOptions{Ranges: []Range{{1 << 20, 1<<20 + 100}}}); err != nil || !bytes.Equal(out.Bytes(), data[1<<20:][:100]) {
		t.Fatal("a range differs: ", err)
	}
	if n := meter.Usage().Read.Bytes - before; n > 1<<20 {
		t.Errorf("%d bytes were read for 100", n)
	}
}

// TestStretchesWithoutRoom: what does not fit is read again, and is right.
func TestStretchesWithoutRoom(t *testing.T) {
	limits := testLimits
	limits.ReadWindow = 64 << 10 // one stretch at a time, of twenty that are wanted
	r, last, data := chained(t, mem.New(), limits, 20)
	if !bytes.Equal(restored(t, r, last), data) {
		t.Error("the last day differs")
	}
}

// TestStretchThatFails: a stretch that cannot be read, or is damaged, costs what it would
// without stretches: nothing if it passes, an error that names the object if it does not.
func TestStretchThatFails(t *testing.T) {
	st := mem.New()
	limits := Limits{Inline: 1 << 10}
	r, last, data := chained(t, st, limits, 10)
	m, err := r.Stream(ctx, last)
	if err != nil {
		t.Fatal(err)
	}
	var rows *manifest.Table
	if err := r.newFetcher().eachTable(ctx, m, func(table *manifest.Table) error { rows = table; return nil }); err != nil {
		t.Fatal(err)
	}
	pack := packKey(rows.Packs[rows.Rows[0].Pack].ID)
	for _, persistent := range []bool{false, true} {
		var once sync.Once
		fault := func(key string) (f mem.Fault) {
			fail := mem.Fault{Edit: mem.FlipBit(8 * 1000)}
			if strings.HasPrefix(key, pack) && persistent {
				return fail
			}
			if strings.HasPrefix(key, pack) {
				once.Do(func() { f = mem.Fault{Before: errors.New("connection reset")} })
			}
			return f
		}
		st.SetHook(func(op, key string) mem.Fault {
			if op != "read" {
				return mem.Fault{}
			}
			return fault(key)
		})
		var out bytes.Buffer
		err := r.Restore(ctx, last, &out, RestoreOptions{})
		if !persistent && (err != nil || !bytes.Equal(out.Bytes(), data)) {
			t.Errorf("one read failed: %v", err)
		}
		if persistent && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), pack)) {
			t.Errorf("damage: %v", err)
		}
	}
}
