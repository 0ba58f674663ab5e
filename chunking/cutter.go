// Package chunking cuts a stream into content-defined chunks.
//
// A chunk ends where a rolling Rabin fingerprint of the last 64 bytes, over a
// secret polynomial, has enough zero bits, but not before a minimum and not after
// a maximum length. A cut depends on nothing but the bytes since the cut before,
// which makes two things true: an edit moves only the cuts near it, and where the
// bytes of a chunk known from before lie again at a chunk's start, that chunk's
// end is the next cut, and the fingerprint need not be computed at all.
//
// The fingerprint and the cuts are those of github.com/restic/chunker, found
// several times as fast (fingerprint.go), by several goroutines where processors have
// nothing else to do (scouts.go), while another reads on (intake.go). Chunks are slices of
// the blocks that the stream was read into; only the one that a block ends in the middle
// of is copied, to the front of the next.
package chunking

import (
	"errors"
	"io"
	"iter"

	"github.com/restic/chunker"

	"github.com/gpdedup/gpdedup/digest"
)

// Params say where to cut. The mean chunk is Min + 2^Bits bytes.
type Params struct {
	Polynomial chunker.Pol
	Min, Max   uint // bytes; Min is at least 64
	Bits       int
}

// Split returns the chunks of a stream that is in memory as a whole.
func (p Params) Split(stream []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var rolling *fingerprint // a short stream needs none
		shortest, longest := int(p.Min), int(p.Max)
		for len(stream) > 0 {
			n := min(len(stream), longest)
			if n > shortest {
				if rolling == nil {
					rolling = newFingerprint(p.Polynomial, p.Bits)
				}
				if at := rolling.find(stream, shortest, n); at > 0 {
					n = at
				}
			}
			if !yield(stream[:n:n]) {
				return
			}
			stream = stream[n:]
		}
	}
}

// Predictor knows a stream that the one being cut probably repeats. Offsets count
// bytes from the beginning of the stream that is being cut.
type Predictor interface {
	// Predict returns name and length of the chunk that is expected to begin at the
	// offset; final says that it ended where its stream ended. A length of 0 means
	// that nothing is expected. It may be asked far ahead, on the assumption that
	// what it said of the chunks before is right.
	Predict(offset int64) (id digest.ID, length int, final bool)
	// Met tells that what Predict returned for the offset was right, and for all
	// offsets before that were asked for since the last call of Met or Missed.
	Met(offset int64)
	// Missed tells that it was wrong.
	Missed(offset int64)
}

// Breaks are offsets at which a chunk must end whatever the bytes say, so that what
// begins there is cut from its own start: a file in an archive, for instance. It
// returns the least one beyond after, or 0 if none is known. One that lies within what
// the source has returned must be known by then. It is called from the goroutine that
// reads the source.
type Breaks func(after int64) int64

// Chunk is a piece of the stream. Data is valid until Release.
type Chunk struct {
	Position int
	Data     []byte
	ID       digest.ID // only if Named
	Named    bool      // the chunk was predicted, and has that name
	block    *block
}

// Release gives the memory behind Data back. It must be called once per chunk.
func (c *Chunk) Release() {
	c.block.release()
	c.block, c.Data = nil, nil
}

// Cutter cuts one stream. It is not safe for concurrent use, but the chunks it
// returned are.
type Cutter struct {
	params Params
	print  *fingerprint
	intake *intake
	scouts *scouts    // nil: none
	ahead  *foresight // nil: nothing is predicted

	block    *block
	offset   int64   // of the current chunk's start, in the stream
	pos, end int     // of the current chunk's start, and of what was read, in block
	scanned  int     // the current chunk does not end within so many bytes
	breaks   []int64 // beyond offset, ascending
	err      error   // of the source, behind end; io.EOF: it ends there
	begun    bool
	position int
}

// NewCutter returns a cutter that reads src to its end, ahead of what it is asked for.
// predict may be nil; else namer is what predictions are checked with. It must be closed.
func NewCutter(src io.Reader, p Params, pool *Pool, predict Predictor, namer *digest.Hasher) *Cutter {
	c := &Cutter{params: p, print: newFingerprint(p.Polynomial, p.Bits), intake: newIntake(src, pool)}
	if predict != nil {
		c.ahead = &foresight{Predictor: predict, namers: []*digest.Hasher{namer}, eager: 1, wrong: -1}
	}
	return c
}

// BreakAt has chunks end also where b says. It is called before the first Next.
//
// Where a chunk ended before because of a break says nothing about where one ends now,
// so a prediction counts only if its end is a cut, or a break again.
func (c *Cutter) BreakAt(b Breaks) { c.intake.breaks = b }

// Help has up to n goroutines look for cuts ahead of Next, and check predictions beside
// it, while idle says that there are processors with nothing better to do. It is called
// before the first Next; idle is called from other goroutines.
func (c *Cutter) Help(n int, idle func() bool) {
	if n < 1 {
		return
	}
	if c.ahead != nil {
		c.ahead.idle = idle
		for range n {
			c.ahead.namers = append(c.ahead.namers, c.ahead.namers[0].Clone())
		}
	}
	c.scouts = &scouts{print: c.print, shortest: int(c.params.Min), idle: idle, free: make(chan struct{}, n)}
	c.intake.scouts = c.scouts
}

// Next returns the next chunk, or io.EOF after the last. The chunks of a stream,
// one after another, are the stream.
func (c *Cutter) Next() (Chunk, error) {
	for {
		window, ends := c.piece()
		more := false
		if c.ahead != nil {
			if len(c.ahead.next) == 0 {
				more = c.ahead.foresee(c, window, ends)
			}
			if len(c.ahead.next) > 0 {
				return c.emitExpected(), nil
			}
		}
		if !more {
			if n := c.cut(window, ends); n > 0 {
				return c.emit(n), nil
			}
			if ends && len(window) == 0 {
				c.Close()
				return Chunk{}, io.EOF
			}
		}
		if err := c.fill(); err != nil {
			c.Close()
			return Chunk{}, err
		}
	}
}

// cut returns how long the chunk is that the window begins with, or 0 if more must be
// read to tell.
func (c *Cutter) cut(window []byte, ends bool) int {
	if c.scouts != nil {
		c.scouts.wanted.Store(true)
	}
	shortest, longest := int(c.params.Min), int(c.params.Max)
	// What is left at the end and no longer than a chunk must be has no cut.
	if !ends || len(window) > shortest {
		to := min(len(window), longest)
		if from := max(shortest, c.scanned+1); from <= to {
			if at := c.block.find(c.print, c.pos+from, c.pos+to); at > 0 {
				return at - c.pos
			}
			c.scanned = to
		}
		if to == longest {
			return longest
		}
	}
	if ends {
		return len(window)
	}
	return 0
}

// isCut reports whether a chunk may end at the end of these bytes, its own, without a
// break. That no cut lies before that is not looked at.
func (c *Cutter) isCut(chunk []byte) bool {
	n := uint(len(chunk))
	return n == c.params.Max || n >= c.params.Min && n < c.params.Max && c.print.mayEnd(chunk)
}

// piece returns what is at hand of the stream up to the next break, and whether a chunk
// must end there, because of the break or because the stream does.
func (c *Cutter) piece() (window []byte, ends bool) {
	window = c.window()
	for len(c.breaks) > 0 && c.breaks[0] <= c.offset {
		c.breaks = c.breaks[1:]
	}
	if len(c.breaks) > 0 && c.breaks[0]-c.offset <= int64(len(window)) {
		return window[:c.breaks[0]-c.offset], true
	}
	return window, c.err == io.EOF //nolint:errorlint // an error of the source may wrap io.EOF, and is no end
}

func (c *Cutter) window() []byte {
	if c.block == nil {
		return nil
	}
	return c.block.buf[c.pos:c.end]
}

func (c *Cutter) emit(n int) Chunk {
	chunk := Chunk{Position: c.position, Data: c.block.buf[c.pos : c.pos+n : c.pos+n], block: c.block}
	c.block.refs.Add(1)
	c.pos += n
	c.offset += int64(n)
	c.scanned = 0
	c.position++
	return chunk
}

func (c *Cutter) emitExpected() Chunk {
	next := c.ahead.next[0]
	c.ahead.next = c.ahead.next[1:]
	if c.scouts != nil {
		c.scouts.wanted.Store(false)
	}
	chunk := c.emit(len(next.data))
	chunk.ID, chunk.Named = next.id, true
	return chunk
}

// fill takes more of the stream from the intake.
func (c *Cutter) fill() error {
	if c.err != nil {
		return c.err
	}
	if !c.begun {
		c.begun = true
		go c.intake.run()
	}
	p := <-c.intake.pieces // comes in any case: also when the pool's context ends
	if p.block != nil {
		c.enter(p.block)
		c.end = p.end
	}
	c.breaks = append(c.breaks, p.breaks...)
	c.err = p.err
	if p.err == io.EOF { //nolint:errorlint // likewise
		return nil
	}
	return p.err
}

// enter moves the beginning of a chunk that the last block ended with in front of what
// was read into the next.
func (c *Cutter) enter(next *block) {
	if next == c.block {
		return
	}
	begun := c.window()
	pos := next.room - len(begun)
	copy(next.buf[pos:], begun)
	if c.block != nil {
		c.block.release()
	}
	c.block, c.pos = next, pos
	if c.scouts != nil {
		c.scouts.cutter.Store(next)
	}
}

// Close gives back what the cutter itself holds, and has it read no more. Chunks stay
// valid. A Read of the source that is under way ends when it returns.
func (c *Cutter) Close() {
	if c.err == nil {
		c.err = errClosed
	}
	select {
	case <-c.intake.quit:
	default:
		close(c.intake.quit)
	}
	if c.block != nil {
		c.block.release()
		c.block, c.pos, c.end = nil, 0, 0
	}
}

var errClosed = errors.New("read stream: closed")
