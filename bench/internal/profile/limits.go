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

	"github.com/gpdedup/gpdedup/bench/parts"
)

// Limit is what the machine does, one core of it, with nothing else to do.
type Limit struct {
	Name  string
	Bytes int64
	Wall  time.Duration
}

// Limits measures, over text, what bounds the paths: copying memory, and each part of the work alone; and what the file
// system of dir takes and syncs.
func Limits(dir string, text []byte) ([]Limit, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var limits []Limit
	add := func(name string, n int, run func()) {
		begin := time.Now()
		run()
		limits = append(limits, Limit{name, int64(n), time.Since(begin)})
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

func writeSynced(path string, data []byte) error {
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
