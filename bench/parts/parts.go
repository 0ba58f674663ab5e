// Package parts runs, each alone and on all cores, the work that a first backup cannot do without: cutting, naming,
// compressing, encrypting. The sum of their times is what the engine is measured against, in the same run, so that the
// ratio holds on a noisy machine.
package parts

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/restic/chunker"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo"
)

// Part is one kind of work over the whole text.
type Part struct {
	Name string // "chunker", "blake3", "zstd" or "gcm"
	Run  func()
}

// Of returns the parts over text, which must stay as it is. Memory for what was compressed is kept between runs. No
// part may run beside another.
func Of(text []byte) ([]Part, error) {
	pieces, err := Cut(text)
	if err != nil {
		return nil, err
	}
	cores := runtime.GOMAXPROCS(0)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(cores),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	payloads := make([][]byte, len(pieces)) // what GCM seals is what zstd leaves
	compress := func() {
		parallel(len(pieces), func() func(int) {
			return func(i int) { payloads[i] = enc.EncodeAll(pieces[i], payloads[i][:0]) }
		})
	}
	compress()
	return []Part{
		{"chunker", func() {
			parallel(cores, func() func(int) {
				return func(i int) { _, _ = Cut(text[i*len(text)/cores : (i+1)*len(text)/cores]) }
			})
		}},
		{"blake3", func() {
			parallel(len(pieces), func() func(int) {
				h := digest.NewHasher([32]byte{1})
				return func(i int) { h.Sum(pieces[i]) }
			})
		}},
		{"zstd", compress},
		{"gcm", func() {
			parallel(len(payloads), func() func(int) {
				var buf []byte
				return func(i int) { buf = aead.Seal(buf[:0], make([]byte, 12), payloads[i], nil) }
			})
		}},
	}, nil
}

// Time runs every part once, one after another, and returns how long each took and their sum.
func Time(parts []Part) (each []time.Duration, sum time.Duration) {
	for _, p := range parts {
		start := time.Now()
		p.Run()
		took := time.Since(start)
		each = append(each, took)
		sum += took
	}
	return each, sum
}

// Cut cuts text as a repository with the default chunk size does, over some polynomial.
func Cut(text []byte) (pieces [][]byte, err error) {
	c, err := repo.ChunksFor(repo.DefaultChunkSize)
	if err != nil {
		return nil, err
	}
	base := chunker.NewBase(chunker.Pol(0x3DA3358B4DC173), chunker.WithBaseAverageBits(c.Bits), chunker.WithBaseBoundaries(c.Min, c.Max))
	for len(text) > 0 {
		n := base.NextSplitPoint(text)
		if n < 0 {
			n = len(text)
		}
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces, nil
}

// parallel has one worker a core do the numbers below n.
func parallel(n int, worker func() func(int)) {
	work := make(chan int, n)
	for i := range n {
		work <- i
	}
	close(work)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			do := worker()
			for i := range work {
				do(i)
			}
		})
	}
	wg.Wait()
}
