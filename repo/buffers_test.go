package repo

import (
	"runtime"
	"testing"
)

// TestBuffersAreKept: what was given back is lent again, also after a collection, and
// what waits is bounded.
func TestBuffersAreKept(t *testing.T) {
	var b buffers
	for n := range 1 << 12 {
		p := b.get(n)
		if len(p) != 0 || cap(p) < n {
			t.Fatalf("asked for %d, got %d of %d", n, len(p), cap(p))
		}
		p = append(p, 'x')
		b.put(p)
		if n%1000 == 0 {
			runtime.GC()
			runtime.GC()
		}
		if q := b.get(n); n > 0 && q[:1][0] != 'x' {
			t.Fatalf("%d: another buffer", n)
		} else {
			b.put(q)
		}
	}
	b.put(nil)
	b.put(make([]byte, 3000)) // of no power of two: good for 2048
	if p := b.get(2048); cap(p) < 2048 {
		t.Errorf("asked for 2048, got %d", cap(p))
	}
	for range 100 {
		b.put(make([]byte, 1<<20))
	}
	if b.kept > maxIdle {
		t.Errorf("%d bytes wait", b.kept)
	}
}
