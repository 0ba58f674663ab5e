package index

import (
	"context"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
)

// TestVerify: every entry is shown to the caller, and a generation with one that is wrong
// is out of use until it was built anew.
func TestVerify(t *testing.T) {
	w := newWorld()
	a, b := w.add(testPack(1, 1, 2, 3)), w.add(testPack(2, 4, 5))
	gone := w.add(testPack(3, 6))
	c := testCache(t, CacheOptions{})
	mustRefresh(t, c, w.list(a, b, gone), w.load)
	listed := w.list(a, b)
	seen := make(map[digest.ID]Location)
	n, damaged, err := c.Verify(context.Background(), listed, func(id digest.ID, loc Location) bool {
		seen[id] = loc
		return true
	})
	if err != nil || n != 5 || len(damaged) != 0 || len(seen) != 5 {
		t.Fatalf("%d entries, %d seen, %v, %v", n, len(seen), damaged, err)
	}
	v := mustView(t, c, listed, noLoad(t))
	for id, loc := range seen {
		if found, ok := v.Find(id, nil); !ok || found != loc {
			t.Errorf("%s: %+v, want %+v", id.Short(), loc, found)
		}
	}
	_ = v.Close()
	_, damaged, err = c.Verify(context.Background(), listed, func(id digest.ID, _ Location) bool { return id != chunkID(5) })
	if err != nil || len(damaged) != 1 || !strings.Contains(damaged[0], "not as the repository has it") {
		t.Fatalf("%v, %v", damaged, err)
	}
	v = mustView(t, c, nil, noLoad(t))
	if _, ok := v.Find(chunkID(4), nil); ok {
		t.Error("a generation with a wrong entry is in use")
	}
	_ = v.Close()
	mustRefresh(t, c, listed, w.load)
	if _, damaged, err := c.Verify(context.Background(), listed, func(digest.ID, Location) bool { return true }); err != nil || len(damaged) != 0 {
		t.Errorf("after it was built anew: %v, %v", damaged, err)
	}
}
