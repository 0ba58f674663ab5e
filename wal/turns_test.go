package wal

import (
	"slices"
	"testing"
)

// TestTurns: of those who wait, the one that is needed first gets the next turn.
func TestTurns(t *testing.T) {
	t.Parallel()
	turns := turns{free: 1}
	turns.take(0)
	var order []uint64
	done := make(chan struct{})
	ranks := []uint64{5, 2, 9, 1}
	for i, rank := range ranks {
		go func() {
			turns.take(rank)
			order = append(order, rank) // one at a time
			turns.giveBack()
			done <- struct{}{}
		}()
		waiting := func() int { turns.mu.Lock(); defer turns.mu.Unlock(); return len(turns.waiting) }
		for waiting() <= i { // it is about to wait
		}
	}
	turns.giveBack()
	for range ranks {
		<-done
	}
	slices.Sort(ranks)
	if !slices.Equal(order, ranks) {
		t.Errorf("the order is %v", order)
	}
	turns.take(0) // there is one again
}
