package repo

import "github.com/gpdedup/gpdedup/digest"

// along is how a stream was last found to run along the previous one.
type along struct {
	offset int64 // of the last chunk that was found there, in this stream
	drift  int64 // what lies at x here lay at x-drift there

	misses int           // predictions that were wrong, one after another
	failed int64         // offset of the last of them; -1: none
	hits   int           // chunks found there since
	wait   int           // so many hits are waited for before the next prediction
	asked  []expectation // since the last that was judged
}

// expectation is that the chunk at the offset is one that began at begin in the previous
// stream.
type expectation struct{ offset, begin int64 }

const (
	// missesInARow is how many wrong predictions end them until a hit shows where the
	// streams run together again. Where a chunk changed the next one mostly did not.
	missesInARow = 2
	// mostWait bounds the hits that are waited for. Of content that comes in another order
	// every chunk is a hit, and what was next to it never follows.
	mostWait = 32
	// nearby is how far from where a chunk is expected one is predicted: rows that come or
	// go move what is behind them, in bytes.
	nearby = 32 << 10
)

// hit takes note that what lies at the offset lay drift bytes before there.
func (a *along) hit(offset, drift int64) {
	if offset <= a.offset && offset != 0 || offset < 0 {
		return // of a chunk that is behind what is known: workers finish in any order
	}
	a.offset, a.drift = offset, drift
	if a.misses < missesInARow || offset <= a.failed {
		return
	}
	if a.hits++; a.hits > a.wait {
		a.misses = missesInARow - 1 // one more is enough to end it again
		a.wait = min(2*a.wait+1, mostWait)
	}
}

// Predict returns the chunk that the previous stream had where this one is now.
func (p *previous) Predict(offset int64) (id digest.ID, length int, final bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.along.misses >= missesInARow {
		return digest.ID{}, 0, false
	}
	there := offset - p.along.drift
	part, row := p.rowAt(max(there, 0))
	if part == nil {
		return digest.ID{}, 0, false
	}
	c := &part.table.Rows[row]
	begin, end := part.begins[row], part.begins[row]+int64(c.Raw)
	if end-there < there-begin {
		if part, row = p.rowAt(end); part == nil {
			return digest.ID{}, 0, false
		}
		begin, c = end, &part.table.Rows[row]
	}
	if max(begin-there, there-begin) > nearby {
		return digest.ID{}, 0, false
	}
	asked := p.along.asked
	for len(asked) > 0 && asked[len(asked)-1].offset >= offset { // asked again, there was too little to tell
		asked = asked[:len(asked)-1]
	}
	p.along.asked = append(asked, expectation{offset, begin})
	return c.ID, int(c.Raw), uint64(begin)+uint64(c.Raw) == p.manifest.Length
}

// Met takes note that the predictions up to that for the offset were right, and of where
// that was.
func (p *previous) Met(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := &p.along
	for _, e := range a.asked {
		if e.offset == offset {
			a.offset, a.drift = offset, offset-e.begin
		}
	}
	a.misses, a.hits, a.wait, a.asked = 0, 0, 0, a.asked[:0]
}

// Missed takes note that the prediction for the offset was wrong.
func (p *previous) Missed(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := &p.along
	a.misses++
	a.failed, a.hits, a.asked = offset, 0, a.asked[:0]
}
