//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/pack"
)

// The synthetic index: packs of 20 MB with 256 chunks, fragments as long as writers make them. All chunks have features,
// and one in four is a delta.
const (
	packChunks     = 256
	fragmentChunks = 32768
	fragmentBytes  = fragmentChunks * (42 + 24 + 33/4)
)

// world is the fragments of an index of so many chunks, and of backups after it.
type world struct {
	chunks int
	ids    map[digest.ID]int
	listed []index.FragmentInfo
	later  []int // chunks of those that came later
}

func newWorld(chunks int) *world {
	w := &world{chunks: chunks, ids: make(map[digest.ID]int)}
	for range (chunks + fragmentChunks - 1) / fragmentChunks {
		w.list(fragmentBytes)
	}
	return w
}

func (w *world) list(size int64) {
	n := len(w.listed)
	id := fragmentID(n)
	w.ids[id] = n
	w.listed = append(w.listed, index.FragmentInfo{ID: id, Size: size, ModTime: time.Unix(1_750_000_000+int64(n), 0)})
}

// add lists the fragment of one more backup.
func (w *world) add(chunks int) {
	w.list(int64(chunks) * fragmentBytes / fragmentChunks)
	w.later = append(w.later, chunks)
}

func (w *world) load(_ context.Context, id digest.ID) ([]index.Pack, error) {
	n, ok := w.ids[id]
	if !ok {
		return nil, errors.New("an unknown fragment was read")
	}
	first := len(w.listed) - len(w.later)
	if n >= first {
		return fragment(n, w.later[n-first]), nil
	}
	return fragment(n, min(fragmentChunks, w.chunks-n*fragmentChunks)), nil
}

func fragmentID(n int) digest.ID { return digest.Sum(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

// fragment makes up the packs of fragment n. Names and features are random, as hashes are.
func fragment(n, chunks int) (packs []index.Pack) {
	r := rand.NewChaCha8([32]byte(fragmentID(n)))
	for chunks > 0 {
		p := index.Pack{Size: pack.FirstOffset, Entries: make([]index.Entry, min(packChunks, chunks))}
		_, _ = r.Read(p.ID[:]) // never fails
		for k := range p.Entries {
			e := &p.Entries[k]
			_, _ = r.Read(e.ID[:])
			e.Raw, e.Stored, e.Encoding, e.Flags = 256<<10, 80_000, index.Zstd, index.FlagFeatures
			for i := range e.Features {
				e.Features[i] = r.Uint64()
			}
			if k%4 == 3 {
				e.Encoding, e.Stored, e.Depth, e.Base = index.Delta, 4_000, 1, p.Entries[k-1].ID
			}
			p.Size += e.Stored
		}
		packs = append(packs, p)
		chunks -= len(p.Entries)
	}
	return packs
}

// listFragments gives the repository the objects that belong to an index, so that a listing shows them. They are holes of
// the right length: the host's cache covers them all, so nobody opens one.
func (p *place) listFragments(w *world) error {
	dir := filepath.Join(p.repo, "index")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range w.listed {
		path := filepath.Join(dir, f.ID.String())
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		if err := errors.Join(os.Truncate(path, f.Size), os.Chtimes(path, f.ModTime, f.ModTime)); err != nil {
			return err
		}
	}
	return nil
}
