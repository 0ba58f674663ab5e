package local

import (
	"fmt"
	"testing"
)

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := newStore(b)
			data := make([]byte, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				mustPut(b, s, fmt.Sprintf("packs/%02x/%d", i%256, i), data)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	s := newStore(b)
	mustPut(b, s, "packs/ab/x", make([]byte, 1<<20))
	dst := make([]byte, 1<<10)
	for b.Loop() {
		if err := s.Read(b.Context(), "packs/ab/x", 1000, dst); err != nil {
			b.Fatal(err)
		}
	}
}
