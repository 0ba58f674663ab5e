//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/storage/target"
)

// The large index: packs of 20 MB with 256 chunks, fragments as long as writers make them.
const (
	packChunks     = 256
	fragmentChunks = 32768
)

func fragmentsFor(chunks int) int { return (chunks + fragmentChunks - 1) / fragmentChunks }

// largeIndex gives the host's cache an index of many chunks, and the repository fragments to match, so that the listing
// that a process begins with shows them.
//
// The generation file is what index.Cache.Refresh makes of them, byte for byte what a host would have. The fragments'
// objects are holes of the right length: the cache covers them all, so nobody opens one. To seal them as real ones would
// take the repository's keys, and change nothing that is measured.
func (b *bench) largeIndex(ctx context.Context, h *host) error {
	id, err := repositoryID(ctx, h.r)
	if err != nil {
		return err
	}
	dir := filepath.Join(h.cache, id)
	// One is made, for all repositories: it does not know which it is of.
	kept := filepath.Join(b.place.Dir, "large-index")
	if _, err := os.Stat(kept); err != nil {
		progress("  build an index of %s chunks", count(b.set.indexChunks))
		if err := buildIndex(ctx, kept, b.set.indexChunks); err != nil {
			return errors.Join(err, os.RemoveAll(kept))
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(kept)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(kept, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	objects := filepath.Join(h.r.path, "index")
	if err := os.MkdirAll(objects, 0o700); err != nil {
		return err
	}
	for i := range fragmentsFor(b.set.indexChunks) {
		path := filepath.Join(objects, fragmentID(i).String())
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(path, fragmentBytes); err != nil {
			return err
		}
	}
	return nil
}

// fragmentBytes is about what a fragment of full length takes: names do not compress.
const fragmentBytes = fragmentChunks * 42

func fragmentID(i int) digest.ID { return digest.Sum(binary.LittleEndian.AppendUint64(nil, uint64(i))) }

// buildIndex fills a cache directory, and makes sure that a View of it answers without reading a fragment.
func buildIndex(ctx context.Context, dir string, chunks int) error {
	cache, err := index.OpenCache(dir, index.CacheOptions{FirstOffset: pack.FirstOffset})
	if err != nil {
		return err
	}
	numbers := make(map[digest.ID]int)
	var listed []index.FragmentInfo
	for i := range fragmentsFor(chunks) {
		id := fragmentID(i)
		numbers[id] = i
		listed = append(listed, index.FragmentInfo{ID: id, Size: fragmentBytes})
	}
	load := func(_ context.Context, id digest.ID) ([]index.Pack, error) {
		i := numbers[id]
		return fragment(i, min(fragmentChunks, chunks-i*fragmentChunks)), nil
	}
	report, err := cache.Refresh(ctx, listed, load)
	if err != nil {
		return err
	}
	if report.Entries != uint64(chunks) || report.LeftOut > 0 {
		return fmt.Errorf("the index has %d chunks of %d", report.Entries, chunks)
	}
	view, err := cache.View(ctx, listed, func(context.Context, digest.ID) ([]index.Pack, error) {
		return nil, errors.New("a fragment was read that the cache covers")
	})
	if err != nil {
		return err
	}
	defer view.Close()
	last := fragment(0, packChunks)[0].Entries[packChunks-1].ID
	if _, ok := view.Find(last, nil); !ok || len(view.Skipped()) > 0 {
		return fmt.Errorf("the index does not find a chunk of its own: %v", view.Skipped())
	}
	return nil
}

// fragment makes up the packs of a fragment. Chunk names are random, as hashes are.
func fragment(i, chunks int) (packs []index.Pack) {
	r := rand.NewChaCha8([32]byte(fragmentID(i)))
	for chunks > 0 {
		p := index.Pack{Size: pack.FirstOffset, Entries: make([]index.Entry, min(packChunks, chunks))}
		_, _ = r.Read(p.ID[:]) // never fails
		for k := range p.Entries {
			e := &p.Entries[k]
			_, _ = r.Read(e.ID[:])
			e.Raw, e.Stored, e.Encoding = 256<<10, 80_000, index.Zstd
			p.Size += e.Stored
		}
		packs = append(packs, p)
		chunks -= len(p.Entries)
	}
	return packs
}

// repositoryID returns the name of the repository's directory in a host's cache.
func repositoryID(ctx context.Context, r *repository) (string, error) {
	st, err := target.Open(r.path)
	if err != nil {
		return "", err
	}
	opened, err := repo.Open(ctx, st, "read", repo.Options{Secret: repo.Secret{KeyFile: r.key}})
	if err != nil {
		return "", errors.Join(err, st.Close())
	}
	return opened.Config().IDHex, opened.Close()
}
