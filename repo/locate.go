package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// locations are the places that the truth on storage, not a host's cache of it,
// knows for chunks.
type locations map[digest.ID][]index.Location

// locate reads all index fragments and returns where the wanted chunks, and the
// bases of what is found, are said to be. With footers it also reads the
// directories of packs that no fragment names. It is slow, and complete.
func (r *Repo) locate(ctx context.Context, want map[digest.ID]bool, footers bool) (locations, error) {
	for {
		found, more, err := r.locateOnce(ctx, want, footers)
		if err != nil || len(more) == 0 {
			return found, err
		}
		for id := range more {
			want[id] = true
		}
	}
}

// locateOnce also returns the bases of what it found that were not asked for.
func (r *Repo) locateOnce(ctx context.Context, want map[digest.ID]bool, footers bool) (locations, map[digest.ID]bool, error) {
	found := make(locations)
	bases := make(map[digest.ID]bool)
	named := make(map[digest.ID]bool)
	collect := func(p *index.Pack) {
		named[p.ID] = true
		p.Locations(pack.FirstOffset, func(id digest.ID, loc index.Location) {
			if !want[id] {
				return
			}
			found[id] = append(found[id], loc)
			if loc.Encoding == index.Delta && !want[loc.Base] {
				bases[loc.Base] = true
			}
		})
	}
	listed, err := r.listFragments(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range listed {
		packs, err := r.loadFragment(ctx, f.ID)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, err
			}
			r.log.Warn("index fragment cannot be used", "fragment", f.ID.String(), "error", err)
			continue
		}
		for i := range packs {
			collect(&packs[i])
		}
	}
	if !footers {
		return found, bases, nil
	}
	err = r.listPacks(ctx, func(id digest.ID, info storage.Info) error {
		if named[id] {
			return nil
		}
		p, err := r.readFooter(ctx, id, info.Size)
		if err != nil {
			// Only a pack that is no good is passed over: what cannot be read this
			// time may hold the chunk.
			if ctx.Err() != nil || !isUnusable(err) {
				return err
			}
			r.log.Warn("pack cannot be used", "pack", id.String(), "error", err)
			return nil
		}
		collect(&p)
		return nil
	})
	return found, bases, err
}

// listPacks calls fn for every pack.
func (r *Repo) listPacks(ctx context.Context, fn func(digest.ID, storage.Info) error) error {
	err := r.st.List(ctx, packPrefix, func(info storage.Info) error {
		id, err := digest.Parse(info.Key[strings.LastIndexByte(info.Key, '/')+1:])
		if err != nil || packKey(id) != info.Key {
			r.log.Warn("foreign object", "key", info.Key)
			return nil //nolint:nilerr // it is none of ours
		}
		return fn(id, info)
	})
	if err != nil {
		return fmt.Errorf("list packs: %w", err)
	}
	return nil
}

// footerGuess is how much of a pack's end is read at first, in bytes: enough for
// the footer of most packs.
const footerGuess = 16 << 10

// readFooter reads the directory of a pack from its two ends.
func (r *Repo) readFooter(ctx context.Context, id digest.ID, size int64) (index.Pack, error) {
	key := packKey(id)
	smallest := int64(pack.FirstOffset + seal.Overhead + pack.TrailerSize)
	if size < smallest || size > pack.MaxSize {
		return index.Pack{}, fmt.Errorf("%s: %w: a pack of %d bytes", key, ErrDamaged, size)
	}
	tail := make([]byte, min(footerGuess, size))
	if err := r.st.Read(ctx, key, -int64(len(tail)), tail); err != nil {
		return index.Pack{}, err
	}
	n, err := pack.FooterSize(tail[len(tail)-pack.TrailerSize:])
	if err != nil {
		return index.Pack{}, fmt.Errorf("%s: %w", key, err)
	}
	need := n + pack.TrailerSize
	if int64(need+pack.FirstOffset) > size {
		return index.Pack{}, fmt.Errorf("%s: %w: footer longer than the pack", key, ErrDamaged)
	}
	if need > len(tail) {
		tail = make([]byte, need)
		if err := r.st.Read(ctx, key, -int64(need), tail); err != nil {
			return index.Pack{}, err
		}
	}
	header := make([]byte, seal.HeaderSize)
	if err := r.st.Read(ctx, key, 0, header); err != nil {
		return index.Pack{}, err
	}
	p, err := pack.OpenFooter(r.keys, id, size, header, tail[len(tail)-need:len(tail)-pack.TrailerSize])
	if err != nil {
		return index.Pack{}, fmt.Errorf("%s: %w", key, err)
	}
	return p, nil
}

// DamagedError names an object that is not what was stored, or is gone, and the
// chunk that could not be read because of it.
type DamagedError struct {
	Object string // key
	Chunk  digest.ID
	Err    error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("chunk %s cannot be read from %s: %v", e.Chunk.Short(), e.Object, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrDamaged) true, unless a newer version wrote what this
// one cannot read.
func (e *DamagedError) Is(target error) bool {
	return target == ErrDamaged && !errors.Is(e.Err, ErrNewer)
}

// Hint returns the next step.
func (e *DamagedError) Hint() string {
	return "gpdedup repo check --read-data names everything that is damaged"
}

// isUnusable reports whether err means that stored bytes are no good to this
// version, and not that they could not be had this time.
func isUnusable(err error) bool { return isDamage(err) || errors.Is(err, ErrNewer) }

func isNotExist(err error) bool { return errors.Is(err, storage.ErrNotExist) }

// isDamage reports whether err means that stored bytes are wrong or gone. What a
// newer version wrote is neither: it must never be taken for lost.
func isDamage(err error) bool {
	return errors.Is(err, ErrDamaged) || isNotExist(err) || errors.Is(err, storage.ErrShort)
}
