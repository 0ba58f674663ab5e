package chunking

import "sync/atomic"

// scouts cut blocks before the cutter comes to them, as if a chunk began there. What they
// find holds whatever the chunks turn out to be: that in a stretch there is no place where
// a chunk may end, and one behind it. The cutter, which alone decides in the stream's order
// and knows the shortest and the longest chunk, needs to scan only what no scout has. As
// chunks that begin differently soon end alike, that is little; and a scout skips what is
// nearer to a cut than the shortest chunk is long, as the cutter does, so that two together
// scan hardly more than one alone. (To find all places where a chunk may end, block by
// block, and then to choose in order, would take two to scan what one scans.)
type scouts struct {
	print    *fingerprint
	shortest int
	idle     func() bool
	free     chan struct{}         // holds a token for each scout under way
	wanted   atomic.Bool           // chunks are not being predicted
	cutter   atomic.Pointer[block] // where the cutter is
}

// gap is a stretch of a block. No chunk may end at from ≤ n < to; at to one may, if cut.
type gap struct {
	from, to int
	cut      bool
}

// send has a full block scouted, unless the cutter is there already or the processors
// have other work.
func (s *scouts) send(b *block) {
	if !s.wanted.Load() || s.cutter.Load() == b || !s.idle() {
		return
	}
	select {
	case s.free <- struct{}{}:
	default:
		return
	}
	b.refs.Add(1)
	go func() {
		s.scout(b)
		b.release()
		<-s.free
	}()
}

func (s *scouts) scout(b *block) {
	// What is in front of room is not there yet.
	for from := b.room + fingerprinted; from <= len(b.buf); {
		if !b.scouting(from) {
			return
		}
		n := s.print.find(b.buf, from, len(b.buf))
		if n == 0 {
			b.scouted(gap{from: from, to: len(b.buf) + 1})
			return
		}
		b.scouted(gap{from: from, to: n, cut: true})
		from = n + s.shortest
	}
}

// scouting notes from where on a scout is scanning, and reports whether it should.
func (b *block) scouting(from int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scout = from
	return !b.leave
}

func (b *block) scouted(g gap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gaps = append(b.gaps, g)
	b.scout = g.to
}

// gap returns the first gap that ends behind at, or at it with a cut; or, if none is known,
// where a scout is scanning. One that is no farther than the cutter is sent home: it would
// scan the same.
func (b *block) gap(at int) (gap, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.gaps {
		if g.to > at || g.to == at && g.cut {
			return g, true
		}
	}
	b.leave = b.leave || b.scout <= at
	return gap{from: b.scout}, false
}

// scanStep is how far the cutter scans before it looks again what a scout has found, in
// bytes.
const scanStep = 8 * side

// find is fingerprint.find in a block, with the help of scouts.
func (b *block) find(f *fingerprint, from, to int) int {
	for from <= to {
		g, known := b.gap(from)
		if known && g.from <= from {
			if g.to > to {
				return 0
			}
			if g.cut {
				return g.to
			}
			from = g.to
			continue
		}
		last := to
		switch {
		case known:
			last = min(last, g.from-1)
		case g.from > from: // the scout is ahead
			last = min(last, from+scanStep-1)
		}
		if n := f.find(b.buf, from, last); n > 0 {
			return n
		}
		from = last + 1
	}
	return 0
}
