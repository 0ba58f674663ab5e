package wide

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/zeebo/blake3"
)

func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = rng.Read(b)
	return b
}

// TestSame: it is BLAKE3, whatever the number of parts, and in whatever order and on how
// many cores they are hashed.
func TestSame(t *testing.T) {
	t.Parallel()
	if !Available() {
		t.Skip("this processor has no AVX-512")
	}
	for n := 2; n <= 64; n *= 2 {
		data := noise(n*PartSize, uint64(n))
		parts := make([]Hash, n)
		var g sync.WaitGroup
		for i := range parts {
			g.Go(func() { parts[i] = Part(i, data[i*PartSize:(i+1)*PartSize]) })
		}
		g.Wait()
		if Root(parts) != blake3.Sum256(data) {
			t.Errorf("%d parts: not BLAKE3", n)
		}
	}
}

// TestEachByte: a bit that is changed anywhere changes the hash to BLAKE3's of that.
func TestEachByte(t *testing.T) {
	t.Parallel()
	if !Available() {
		t.Skip("this processor has no AVX-512")
	}
	data := noise(2*PartSize, 7)
	parts := []Hash{Part(0, data[:PartSize]), Part(1, data[PartSize:])}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 64 {
		at := rng.IntN(len(data))
		data[at] ^= 1 << rng.IntN(8)
		n := at / PartSize
		changed := Part(n, data[n*PartSize:(n+1)*PartSize])
		if changed == parts[n] {
			t.Fatalf("a bit of byte %d is not hashed", at)
		}
		parts[n] = changed
		if Root(parts) != blake3.Sum256(data) {
			t.Fatalf("byte %d: not BLAKE3", at)
		}
	}
}

func BenchmarkPart(b *testing.B) {
	if !Available() {
		b.Skip("this processor has no AVX-512")
	}
	data := noise(PartSize, 1)
	b.SetBytes(PartSize)
	for b.Loop() {
		Part(0, data)
	}
}

func BenchmarkEight(b *testing.B) {
	data := noise(PartSize, 1)
	b.SetBytes(PartSize)
	for b.Loop() {
		blake3.Sum256(data)
	}
}
