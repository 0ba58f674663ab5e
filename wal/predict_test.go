package wal

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// FuzzPredict: whatever the bytes, they come back.
func FuzzPredict(f *testing.F) {
	name, _ := ParseName("000000010000000000000003")
	f.Add(segment(testSystem, name, 1<<20, 1)[:16<<10], uint64(3<<20), uint8(3))
	f.Add(disorder(1, 32<<10), uint64(0), uint8(0))
	f.Add(disorder(2, 64<<10), uint64(1<<40), uint8(6))
	f.Fuzz(func(t *testing.T, data []byte, at uint64, size uint8) {
		pageSize := 1 << (10 + size%7)
		data = data[:len(data)/pageSize*pageSize]
		was := slices.Clone(data)
		var p predictor
		p.reset(data, LSN(at), pageSize)
		p.predict()
		p.restore()
		if !bytes.Equal(data, was) {
			t.Error("other bytes came back")
		}
	})
}

// disorder makes pages full of what looks like records of all lengths, with lengths
// that contradict each other.
func disorder(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		switch rng.IntN(4) {
		case 0:
			data[i] = byte(rng.IntN(200))
		case 1:
			data[i+1], data[i+2] = byte(rng.IntN(16)), byte(rng.IntN(3))
		default:
			data[i+rng.IntN(8)] = byte(rng.Uint32())
		}
	}
	return data
}

func TestPredictAnything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		data := disorder(seed, 64<<10)
		was := slices.Clone(data)
		pageSize := 1 << (10 + seed%7) // Greenplum has 32 KiB
		var p predictor
		p.reset(data, LSN(seed<<20), pageSize)
		p.predict()
		p.restore()
		if !bytes.Equal(data, was) {
			t.Fatalf("seed %d: other bytes came back", seed)
		}
		p.reset(data, LSN(seed<<20), pageSize)
		if p.predictExact() {
			p.restore()
		}
		if !bytes.Equal(data, was) {
			t.Fatalf("seed %d: other bytes came back, or were left", seed)
		}
	}
}
