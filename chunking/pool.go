package chunking

import (
	"context"
	"sync"
	"sync/atomic"
)

// Pool lends a bounded number of equally long blocks of memory to a Cutter.
type Pool struct {
	ctx  context.Context //nolint:containedctx // a Pool lives as long as one stream
	room int             // of a block: for the part of a chunk that the block before ends with
	fill int             // of a block: for what is read into it
	free chan *block
	made atomic.Int32
	max  int32
}

// block is memory that a piece of the stream is read into. What is read begins at room;
// the chunk that the block before could not finish is put right in front of it, so that
// every chunk lies in one piece, and reading need not wait for cutting.
type block struct {
	buf   []byte
	room  int
	refs  atomic.Int32
	pool  *Pool
	mu    sync.Mutex
	gaps  []gap // that a scout has found, ascending
	scout int   // from here on a scout is scanning
	leave bool  // tells it to stop
}

// shortestFill is for chunks so short that reading should go by more than a chunk, in bytes.
const shortestFill = 2 << 20

// NewPool returns a pool of at most n blocks, at least two, for chunks of at most longest
// bytes. When ctx ends, nobody waits for a block any more.
func NewPool(ctx context.Context, n, longest int) *Pool {
	return newPool(ctx, n, longest, shortestFill)
}

func newPool(ctx context.Context, n, longest, fill int) *Pool {
	n = max(n, 2)
	// A predicted chunk that was the last of its stream waits for one byte more, to see
	// whether this stream ends there, too.
	return &Pool{ctx: ctx, room: longest + 1, fill: max(fill, longest+1), free: make(chan *block, n), max: int32(n)}
}

func (p *Pool) get() (*block, error) {
	b, err := p.take()
	if err == nil {
		b.refs.Store(1)
		b.gaps, b.scout, b.leave = b.gaps[:0], 0, false
	}
	return b, err
}

func (p *Pool) take() (*block, error) {
	select {
	case b := <-p.free:
		return b, nil
	default:
	}
	if p.made.Load() < p.max { // only the one intake calls get
		p.made.Add(1)
		return &block{buf: make([]byte, p.room+p.fill), room: p.room, pool: p}, nil
	}
	select {
	case b := <-p.free:
		return b, nil
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	}
}

func (b *block) release() {
	if b.refs.Add(-1) == 0 {
		b.pool.free <- b // never blocks: there is room for every block
	}
}
