package chunking

import (
	"context"
	"sync/atomic"
)

// Pool lends a bounded number of equally long blocks of memory to a Cutter.
type Pool struct {
	ctx  context.Context //nolint:containedctx // a Pool lives as long as one stream
	size int
	free chan *block
	made atomic.Int32
	max  int32
}

type block struct {
	buf  []byte
	refs atomic.Int32
	pool *Pool
}

// NewPool returns a pool of at most n blocks for chunks of at most longest bytes.
// When ctx ends, nobody waits for a block any more.
func NewPool(ctx context.Context, n, longest int) *Pool {
	// A block holds the longest chunk and what was read along with it.
	return newPool(ctx, n, max(4<<20, 2*longest))
}

// NewPoolFor returns a pool of one block for a stream of length bytes.
func NewPoolFor(ctx context.Context, length int) *Pool {
	return newPool(ctx, 1, length+1) // room to ask for more and see the end
}

func newPool(ctx context.Context, n, size int) *Pool {
	return &Pool{ctx: ctx, size: size, free: make(chan *block, n), max: int32(n)}
}

func (p *Pool) get() (*block, error) {
	select {
	case b := <-p.free:
		b.refs.Store(1)
		return b, nil
	default:
	}
	if p.made.Load() < p.max { // only the one cutter calls get
		p.made.Add(1)
		b := &block{buf: make([]byte, p.size), pool: p}
		b.refs.Store(1)
		return b, nil
	}
	select {
	case b := <-p.free:
		b.refs.Store(1)
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
