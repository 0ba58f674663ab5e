package repo

import (
	"math/bits"
	"sync"
)

// buffers lends memory for chunks and payloads by powers of two, so that a stream
// of any length makes next to no garbage.
type buffers struct{ classes [32]sync.Pool }

// get returns a buffer of length 0 and at least the capacity n.
func (b *buffers) get(n int) []byte {
	class := bits.Len(uint(max(n, 1) - 1))
	if p, ok := b.classes[class].Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 0, 1<<class)
}

// put takes a buffer back that nobody uses any more.
func (b *buffers) put(p []byte) {
	if cap(p) == 0 {
		return
	}
	p = p[:0]
	b.classes[bits.Len(uint(cap(p)))-1].Put(&p)
}
