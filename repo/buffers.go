package repo

import (
	"math/bits"
	"sync"
)

// buffers lends memory for chunks and payloads by powers of two, so that a stream
// of any length makes next to no garbage. It is no sync.Pool, because collections
// empty that: the heap is small, so they come often, and what they took would be made
// anew, which brings the next.
type buffers struct {
	mu   sync.Mutex
	idle [32][][]byte
	kept int // bytes in idle
}

// maxIdle bounds the bytes of buffers that wait for somebody to want them: as much as a
// restore has in flight. With a quarter of that, a restore makes so much garbage that it takes
// a tenth more processor time, and no less memory.
const maxIdle = 32 << 20

// get returns a buffer of length 0 and at least the capacity n.
func (b *buffers) get(n int) []byte {
	class := bits.Len(uint(max(n, 1) - 1))
	if p := b.take(class); p != nil {
		return p
	}
	return make([]byte, 0, 1<<class)
}

func (b *buffers) take(class int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.idle[class]) - 1
	if last < 0 {
		return nil
	}
	p := b.idle[class][last]
	b.idle[class][last] = nil
	b.idle[class] = b.idle[class][:last]
	b.kept -= cap(p)
	return p
}

// put takes a buffer back that nobody uses any more.
func (b *buffers) put(p []byte) {
	if cap(p) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept+cap(p) > maxIdle {
		return
	}
	class := bits.Len(uint(cap(p))) - 1
	b.idle[class] = append(b.idle[class], p[:0])
	b.kept += cap(p)
}
