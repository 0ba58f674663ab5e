package chunking

import (
	"sync"
	"sync/atomic"

	"github.com/gpdedup/gpdedup/digest"
)

// expected is a chunk that was predicted.
type expected struct {
	id   digest.ID
	data []byte
	met  bool // the data has that name
}

// mostEager bounds how many predictions are tried at once.
const mostEager = 8

// foresight tries predictions: several at once where the last ones were right, because
// if a chunk is as predicted, the next begins where it was predicted, too.
type foresight struct {
	Predictor
	namers []*digest.Hasher // one for each goroutine that may name chunks
	idle   func() bool      // whether more than one of them should
	eager  int              // how many chunks are tried at once
	tried  []expected
	next   []expected // of tried, those that were as predicted and are not handed out yet
	wrong  int64      // the offset at which a prediction was wrong last; -1: none
}

// foresee finds the predicted chunks that the window, at the offset, begins with; more
// says that there are too few bytes to tell.
//
// Where the bytes of a chunk lie again at the start of a chunk, the next cut is where that
// chunk's was, if its end was a cut: of fingerprint or length, which is looked at, and not
// of a break or of the end of its stream, unless it is that again.
func (f *foresight) foresee(c *Cutter, window []byte, ends bool) (more bool) {
	f.tried = f.tried[:0]
	offset, impossible := c.offset, false
	for len(f.tried) < f.eager && offset != f.wrong && (len(window) > 0 || !ends) {
		id, n, final := f.Predict(offset)
		if n <= 0 || n > int(c.params.Max) {
			break
		}
		need := n
		if final {
			need++ // to see whether the stream ends here
		}
		if len(window) < need && !ends {
			more = true
			break
		}
		atEnd := ends && len(window) == n
		if len(window) < n || !atEnd && (final || !c.isCut(window[:n])) {
			impossible = true
			break
		}
		f.tried = append(f.tried, expected{id: id, data: window[:n]})
		window = window[n:]
		offset += int64(n)
	}
	f.name()
	met := 0
	offset = c.offset
	for met < len(f.tried) && f.tried[met].met {
		offset += int64(len(f.tried[met].data))
		met++
	}
	if met > 0 {
		f.Met(offset - int64(len(f.tried[met-1].data)))
		f.eager = min(2*f.eager, mostEager)
	}
	if met < len(f.tried) || impossible {
		f.Missed(offset)
		f.wrong, f.eager = offset, 1
	}
	f.next = f.tried[:met]
	return more && len(f.tried) == 0
}

// name finds out which of the chunks are as predicted.
func (f *foresight) name() {
	if len(f.tried) < 2 || len(f.namers) < 2 || !f.idle() {
		for i := range f.tried {
			if e := &f.tried[i]; f.namers[0].Sum(e.data) == e.id {
				e.met = true
			} else {
				return // what comes behind does not begin where it was predicted
			}
		}
		return
	}
	var taken atomic.Int32
	var others sync.WaitGroup
	work := func(namer *digest.Hasher) {
		for {
			i := int(taken.Add(1)) - 1
			if i >= len(f.tried) {
				return
			}
			e := &f.tried[i]
			e.met = namer.Sum(e.data) == e.id
		}
	}
	for _, namer := range f.namers[1:min(len(f.namers), len(f.tried))] {
		others.Go(func() { work(namer) })
	}
	work(f.namers[0])
	others.Wait()
}
