package wal

import "sync"

// turns lets a few at a time work, those first that are needed first.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting []turn
}

type turn struct {
	rank  uint64 // the least is the next
	given chan struct{}
}

// take waits for a turn. Whoever has one must give it back.
func (t *turns) take(rank uint64) {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return
	}
	mine := turn{rank, make(chan struct{})}
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	<-mine.given
}

// giveBack passes a turn on.
func (t *turns) giveBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := -1
	for i, w := range t.waiting {
		if next < 0 || w.rank < t.waiting[next].rank {
			next = i
		}
	}
	if next < 0 {
		t.free++
		return
	}
	close(t.waiting[next].given)
	t.waiting[next] = t.waiting[len(t.waiting)-1]
	t.waiting = t.waiting[:len(t.waiting)-1]
}
