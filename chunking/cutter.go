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

	block    *block
	pos, end int // of the current chunk's start, and of what was read, in block
	scanned  int // bytes from pos on that base has seen
	asked    bool
	eof      bool
	position int
}

// NewCutter returns a cutter that reads src to its end. predict may be nil; else
// namer is what predictions are checked with.
func NewCutter(src io.Reader, p Params, pool *Pool, predict Predictor, namer *digest.Hasher) *Cutter {
	return &Cutter{src: src, params: p, pool: pool, predict: predict, namer: namer}
}

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
		// What is left at the end and no longer than a chunk must be has no cut.
		if window := c.window(); len(window) > c.scanned && (!c.eof || uint(len(window)) > c.params.Min) {
			if i := c.splitPoint(window[c.scanned:]); i >= 0 {
				return c.emit(c.scanned + i), nil
			}
			c.scanned = len(window)
		}
		if c.eof {
			if n := len(c.window()); n > 0 {
				return c.emit(n), nil
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
		c.base = chunker.NewBase(c.params.Polynomial,
			chunker.WithBaseAverageBits(c.params.Bits), chunker.WithBaseBoundaries(c.params.Min, c.params.Max))
	}
	return c.base.NextSplitPoint(window)
}

// tryPrediction returns the predicted chunk if the bytes at hand have its name;
// more says that there are too few bytes to tell.
func (c *Cutter) tryPrediction() (chunk Chunk, more, ok bool) {
	id, n, final := c.predict.Predict(c.position)
	if n == 0 {
		return Chunk{}, false, false
	}
	window := c.window()
	need := n
	if final {
		need++ // to see whether the stream ends here
	}
	if len(window) < need && !c.eof && need <= c.pool.size {
		return Chunk{}, true, false
	}
	// The last chunk of a stream ends because the stream does: only at an end is
	// its end a cut.
	fits := len(window) >= n && (!final || c.eof && len(window) == n)
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
