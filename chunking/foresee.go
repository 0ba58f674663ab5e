package chunking

import "github.com/gpdedup/gpdedup/digest"

// expected is a chunk that was predicted.
type expected struct {
	id     digest.ID
	length int
}

// mostEager bounds how many predictions are tried at once.
const mostEager = 8

// foresee finds the predicted chunks that the window begins with, if the bytes have their
// names; more says that there are too few bytes to tell.
//
// Where the bytes of a chunk lie again at the start of a chunk, the next cut is where that
// chunk's was, if its end was a cut: of fingerprint or length, which is looked at, and not
// of a break or of the end of its stream, unless it is that again.
func (c *Cutter) foresee(window []byte, ends bool) (more bool) {
	c.expected = c.expected[:0]
	offset := c.offset
	for len(c.expected) < c.eager {
		id, n, final := c.predict.Predict(offset)
		if n <= 0 || n > int(c.params.Max) {
			break
		}
		need := n
		if final {
			need++ // to see whether the stream ends here
		}
		if len(window) < need && !ends {
			more = len(c.expected) == 0
			break
		}
		atEnd := ends && len(window) == n
		if len(window) < n || !atEnd && (final || !c.isCut(window[:n])) || c.namer.Sum(window[:n]) != id {
			c.predict.Missed(offset)
			c.eager = 1
			break
		}
		c.predict.Met(offset)
		c.expected = append(c.expected, expected{id, n})
		window = window[n:]
		offset += int64(n)
	}
	c.asked = !more && len(c.expected) == 0
	if len(c.expected) > 0 {
		c.eager = min(2*c.eager, mostEager)
		if c.scouts != nil {
			c.scouts.wanted.Store(false)
		}
	}
	return more
}
