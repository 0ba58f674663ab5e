// Package chunking cuts a stream into content-defined chunks.
//
// A chunk ends where a rolling Rabin fingerprint of the last 64 bytes, over a
// secret polynomial, has enough zero bits, but not before a minimum and not after
// a maximum length. A cut depends on nothing but the bytes since the cut before,
// which makes two things true: an edit moves only the cuts near it, and where the
// bytes of a chunk known from before lie again at a chunk's start, that chunk's
// end is the next cut, and the fingerprint need not be computed at all.
//
// The fingerprint is github.com/restic/chunker's, which runs over the caller's
// buffer; chunks are slices of the blocks that the stream was read into, and are
// never copied.
package chunking

import (
	"fmt"
	"io"

	"github.com/restic/chunker"

	"github.com/gpdedup/gpdedup/digest"
)

// Params say where to cut. The mean chunk is Min + 2^Bits bytes.
type Params struct {
	Polynomial chunker.Pol
	Min, Max   uint // bytes; Min is at least 64
	Bits       int
}

// Predictor knows a stream that the one being cut probably repeats. Positions
// count chunks from the beginning of the stream that is being cut.
type Predictor interface {
	// Predict returns name and length of the chunk that is expected at the
	// position; final says that it ended where its stream ended. A length of 0
	// means that nothing is expected.
	Predict(position int) (id digest.ID, length int, final bool)
	// Missed tells that what Predict returned for the position was wrong.
	Missed(position int)
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

// readSize is how much is asked of the source at once, in bytes.
const readSize = 1 << 20

// Cutter cuts one stream. It is not safe for concurrent use, but the chunks it
// returned are.
type Cutter struct {
	src     io.Reader
	params  Params
	pool    *Pool
	base    *chunker.BaseChunker // made when first needed: its tables take a while
	predict Predictor
	namer   *digest.Hasher
	breaks  Breaks
	proof   *chunker.BaseChunker // says of 64 bytes whether a chunk may end with them

	block    *block
	offset   int64 // of the current chunk's start, in the stream
	pos, end int   // of the current chunk's start, and of what was read, in block
	scanned  int   // bytes from pos on that base has seen
	asked    bool
	eof      bool
	position int
}

// NewCutter returns a cutter that reads src to its end. predict may be nil; else
// namer is what predictions are checked with.
func NewCutter(src io.Reader, p Params, pool *Pool, predict Predictor, namer *digest.Hasher) *Cutter {
	return &Cutter{src: src, params: p, pool: pool, predict: predict, namer: namer}
}

// BreakAt has chunks end also where b says. It is called before the first Next.
//
// Where a chunk ended before because of a break says nothing about where one ends now,
// so a prediction counts only if its end is a cut, or a break again.
func (c *Cutter) BreakAt(b Breaks) { c.breaks = b }

// Next returns the next chunk, or io.EOF after the last. The chunks of a stream,
// one after another, are the stream.
func (c *Cutter) Next() (Chunk, error) {
	for {
		if c.predict != nil && !c.asked && c.scanned == 0 {
			chunk, more, ok := c.tryPrediction()
			if ok {
				return chunk, nil
			}
			if more {
				if err := c.fill(); err != nil {
					return Chunk{}, err
				}
				continue
			}
			c.asked = true
		}
		window, ends := c.piece()
		// What is left at the end and no longer than a chunk must be has no cut.
		if len(window) > c.scanned && (!ends || uint(len(window)) > c.params.Min) {
			if i := c.splitPoint(window[c.scanned:]); i >= 0 {
				return c.emit(c.scanned + i), nil
			}
			c.scanned = len(window)
		}
		if ends {
			if len(window) > 0 {
				c.restart()
				return c.emit(len(window)), nil
			}
			c.Close()
			return Chunk{}, io.EOF
		}
		if err := c.fill(); err != nil {
			return Chunk{}, err
		}
	}
}

func (c *Cutter) splitPoint(window []byte) int {
	if c.base == nil {
		c.base = c.newBase(c.params.Min, c.params.Max)
	}
	return c.base.NextSplitPoint(window)
}

func (c *Cutter) newBase(shortest, longest uint) *chunker.BaseChunker {
	return chunker.NewBase(c.params.Polynomial,
		chunker.WithBaseAverageBits(c.params.Bits), chunker.WithBaseBoundaries(shortest, longest))
}

// restart has the fingerprint forget a chunk that it has seen a part of, and that ended
// without a cut.
func (c *Cutter) restart() {
	if c.scanned > 0 && c.breaks != nil {
		c.base = c.newBase(c.params.Min, c.params.Max)
	}
}

// fingerprinted is how many bytes the fingerprint is of.
const fingerprinted = 64

// isCut reports whether a chunk may end at the end of these bytes, its own, without a
// break. That no cut lies before that is not looked at.
func (c *Cutter) isCut(chunk []byte) bool {
	n := uint(len(chunk))
	if n < c.params.Min || n == c.params.Max {
		return n == c.params.Max
	}
	if c.proof == nil {
		c.proof = c.newBase(fingerprinted, 2*fingerprinted)
	}
	if c.proof.NextSplitPoint(chunk[n-fingerprinted:]) == fingerprinted {
		return true
	}
	c.proof = nil // it goes on from where it is
	return false
}

// piece returns what is at hand of the stream up to the next break, and whether a chunk
// must end there, because of the break or because the stream does.
func (c *Cutter) piece() (window []byte, ends bool) {
	window = c.window()
	if c.breaks != nil {
		if at := c.breaks(c.offset); at > c.offset && at-c.offset <= int64(len(window)) {
			return window[:at-c.offset], true
		}
	}
	return window, c.eof
}

// tryPrediction returns the predicted chunk if the bytes at hand have its name;
// more says that there are too few bytes to tell.
func (c *Cutter) tryPrediction() (chunk Chunk, more, ok bool) {
	id, n, final := c.predict.Predict(c.position)
	if n == 0 {
		return Chunk{}, false, false
	}
	window, ends := c.piece()
	need := n
	if final {
		need++ // to see whether the stream ends here
	}
	if len(window) < need && !ends && need <= c.pool.size {
		return Chunk{}, true, false
	}
	// The last chunk of a stream ends because the stream does: only at an end is
	// its end a cut.
	atEnd := ends && len(window) == n
	fits := len(window) >= n && (!final || atEnd) && (c.breaks == nil || atEnd || c.isCut(window[:n]))
	if fits && c.namer.Sum(window[:n]) == id {
		chunk = c.emit(n)
		chunk.ID, chunk.Named = id, true
		return chunk, false, true
	}
	c.predict.Missed(c.position)
	return Chunk{}, false, false
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
	c.scanned, c.asked = 0, false
	c.position++
	return chunk
}

// fill reads more of the source. The part of a chunk that a full block ends with
// moves to the front of the next block.
func (c *Cutter) fill() error {
	if c.block == nil || c.end == len(c.block.buf) {
		next, err := c.pool.get()
		if err != nil {
			return err
		}
		n := copy(next.buf, c.window())
		if c.block != nil {
			c.block.release()
		}
		c.block, c.pos, c.end = next, 0, n
	}
	space := c.block.buf[c.end:min(len(c.block.buf), c.end+readSize)]
	for len(space) > 0 {
		n, err := c.src.Read(space)
		space = space[n:]
		c.end += n
		// Only io.EOF itself is the end. io.ReadFull would say io.ErrUnexpectedEOF
		// of a short last block, and that is what a decompressor says of a
		// container that is cut short. A wrapped EOF is somebody's failure.
		if err == io.EOF {
			c.eof = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
	}
	return nil
}

// Close gives back what the cutter itself holds. Chunks stay valid.
func (c *Cutter) Close() {
	if c.block != nil {
		c.block.release()
		c.block, c.pos, c.end = nil, 0, 0
	}
}
