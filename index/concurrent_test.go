package index

import (
	"slices"
	"sync"
	"testing"
)

// TestFindConcurrently: many goroutines on one View, while a generation is found
// damaged under their hands.
func TestFindConcurrently(t *testing.T) {
	x := newVictim(t)
	v := mustView(t, x.c, x.w.list(), noFragments)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				for _, id := range x.ids {
					if got, ok := v.Find(id, nil); ok && got != x.truth[id] {
						t.Errorf("%s: %+v", id.Short(), got)
					}
					if super, ok := x.super[id]; ok {
						if similar, got, ok := v.Similar(super, nil); ok && (similar != id || got != x.truth[id]) {
							t.Errorf("similar to %s: %s at %+v", id.Short(), similar.Short(), got)
						}
					}
				}
			}
		})
	}
	group.Go(func() {
		x.flips(50, func(at int64, b byte) {
			x.patch(t, at, b)
			x.patch(t, at, x.data[at])
		})
	})
	group.Wait()
	if d := slices.Compact(v.Damaged()); len(d) > 1 {
		t.Errorf("reported more than once: %v", d)
	}
}
