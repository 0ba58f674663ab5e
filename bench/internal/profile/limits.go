//go:build linux

package profile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/bench/parts"
)

// Limit is what the machine does, one core of it, with nothing else to do.
type Limit struct {
	Name  string
	Bytes int64
	Wall  time.Duration // the least of some turns, as the next
	CPU   time.Duration
}

// limitTurns is how often each limit is tried: the least is the machine's, the rest is other work's.
const limitTurns = 3

// Limits measures, over text, what bounds the paths: copying memory, and each part of the work alone; and what the file
// system of dir takes and syncs.
func Limits(dir string, text []byte) ([]Limit, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var limits []Limit
	add := func(name string, n int, run func()) {
		limit := Limit{Name: name, Bytes: int64(n)}
		for turn := range limitTurns {
			begin, used := time.Now(), ownCPU()
			run()
			wall, cpu := time.Since(begin), ownCPU()-used
			if turn == 0 {
				limit.Wall, limit.CPU = wall, cpu
			}
			limit.Wall, limit.CPU = min(limit.Wall, wall), min(limit.CPU, cpu)
		}
		limits = append(limits, limit)
	}
	copied := make([]byte, len(text))
	copy(copied, text) // the pages are there now
	add("copy memory", len(text), func() { copy(copied, text) })
	all, err := parts.Of(text)
	if err != nil {
		return nil, err
	}
	names := map[string]string{"chunker": "cut", "blake3": "hash: keyed BLAKE3", "zstd": "zstd, as gpdedup's fastest"}
	for _, p := range all {
		if name, ok := names[p.Name]; ok {
			add(name, len(text), p.Run)
		}
	}
	pieces, err := parts.Cut(text)
	if err != nil {
		return nil, err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.IgnoreChecksum(true))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	defer dec.Close()
	packed := make([][]byte, len(pieces))
	for i, piece := range pieces {
		packed[i] = enc.EncodeAll(piece, nil)
	}
	var failed error
	add("decompress that", len(text), func() {
		for _, p := range packed {
			var err error
			if copied, err = dec.DecodeAll(p, copied[:0]); err != nil {
				failed = err
			}
		}
	})
	if failed != nil {
		return nil, failed
	}
	add("write a file and sync it", len(text), func() { failed = writeSynced(filepath.Join(dir, "limit"), text) })
	return limits, errors.Join(failed, os.Remove(filepath.Join(dir, "limit")))
}

// ownCPU is the processor time of this process so far.
func ownCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // it cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func writeSynced(path string, data []byte) error {
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
