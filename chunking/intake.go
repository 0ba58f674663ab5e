package chunking

import (
	"context"
	"fmt"
	"io"
)

// intake reads a stream into blocks, ahead of the cutter by as many as the pool has. It is
// a goroutine of its own: to copy a stream out of a pipe takes as long as to name it.
type intake struct {
	src    io.Reader
	pool   *Pool
	breaks Breaks
	scouts *scouts // nil: none
	pieces chan piece
	quit   chan struct{} // closed when nobody wants the stream any more

	offset int64 // of what is read next, in the stream
	broken int64 // the last break that was passed on
}

// piece is a part of the stream, in order. It goes on where the piece before ended, in the
// same block or at the beginning of the next.
type piece struct {
	block  *block
	end    int     // in block
	breaks []int64 // offsets in the stream, ascending
	err    error   // of the source; io.EOF where the stream ends
}

const (
	// pieceSize is how much is read before the cutter is told, in bytes: so much that
	// telling costs nothing beside it, so little that it is still in the cache.
	pieceSize = 256 << 10
	// piecesAhead is how many pieces wait for the cutter without holding up the reader.
	piecesAhead = 64
)

func newIntake(src io.Reader, pool *Pool) *intake {
	return &intake{src: src, pool: pool, pieces: make(chan piece, piecesAhead), quit: make(chan struct{})}
}

// run ends at the end of the source, or when the next read returns after the pool's
// context has ended or quit was closed.
func (in *intake) run() {
	for {
		b, err := in.pool.get()
		if err != nil {
			in.send(piece{err: err})
			return
		}
		if !in.fill(b) {
			return
		}
		if in.scouts != nil {
			in.scouts.send(b)
		}
		b.release()
	}
}

// fill reads until the block is full, and reports whether there is more.
func (in *intake) fill(b *block) bool {
	b.refs.Add(1) // the cutter's, which the first piece brings it
	for end := b.room; end < len(b.buf); {
		n, err := in.read(b.buf[end:min(len(b.buf), end+pieceSize)])
		end += n
		in.offset += int64(n)
		if !in.send(piece{block: b, end: end, breaks: in.passed(), err: err}) || err != nil {
			return false
		}
	}
	return true
}

// read fills p, or returns why not.
func (in *intake) read(p []byte) (n int, err error) {
	for n < len(p) {
		k, err := in.src.Read(p[n:])
		n += k
		// Only io.EOF itself is the end. io.ReadFull would say io.ErrUnexpectedEOF
		// of a short last piece, and that is what a decompressor says of a
		// container that is cut short. A wrapped EOF is somebody's failure.
		if err == io.EOF {
			return n, err
		}
		if err != nil {
			return n, fmt.Errorf("read stream: %w", err)
		}
	}
	return n, nil
}

// passed returns the breaks that were not passed on and lie within what was read. They
// are asked for here because who reads a source knows what it said.
func (in *intake) passed() (breaks []int64) {
	if in.breaks == nil {
		return nil
	}
	for {
		at := in.breaks(in.broken)
		if at <= in.broken || at > in.offset {
			return breaks
		}
		in.broken = at
		breaks = append(breaks, at)
	}
}

// send reports whether anybody still wants more.
func (in *intake) send(p piece) bool {
	select {
	case in.pieces <- p:
		return true
	case <-in.quit:
	case <-in.pool.ctx.Done():
		// Whoever waits for a piece has to hear of it, too.
		select {
		case in.pieces <- piece{err: context.Cause(in.pool.ctx)}:
		case <-in.quit:
		}
	}
	return false
}
