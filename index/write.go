package index

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/gpdedup/gpdedup/digest"
)

// write makes the new generation in a temporary file: packs first, because that is
// where they get their numbers, then chunks, and last the fragments with what each
// has contributed.
func (b *build) write(ctx context.Context) error {
	var salt [4]byte
	_, _ = rand.Read(salt[:]) // never fails
	f, err := os.CreateTemp(b.c.dir, tempPrefix+"generation-")
	if err != nil {
		return fmt.Errorf("create generation: %w", err)
	}
	b.temp = f.Name()
	if err := f.Close(); err != nil {
		return fmt.Errorf("create generation: %w", err)
	}
	b.c.step("temporary")
	w, err := newWriter(b.temp, binary.LittleEndian.Uint32(salt[:]))
	if err != nil {
		return err
	}
	if err := b.fill(ctx, w); err != nil {
		w.abort()
		return err
	}
	b.c.step("written")
	b.report.Entries = w.sum.entries
	return nil
}

func (b *build) fill(ctx context.Context, w *writer) (err error) {
	// bbolt reads back through a mapping what it wrote: a disk that fails there
	// faults, and must not take the backup with it.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchFault(&err)
	for i, rank := range b.runs.rank {
		if err := w.addPack(b.packs[i*digest.Size:(i+1)*digest.Size], rank); err != nil {
			return fmt.Errorf("write packs: %w", err)
		}
	}
	var gens []source
	for _, in := range b.inputs {
		if !in.absorb {
			continue
		}
		src, err := b.source(w, in)
		if err != nil {
			return b.blame(in.g, err)
		}
		gens = append(gens, src)
	}
	counts := make([]counted, len(b.l)) // by rank
	b.supers = superRuns{dir: b.c.dir, limit: b.c.batch / 2, salt: w.sum.salt}
	features := b.featuresFrom()
	err = merge(append(gens, b.runs.sources()...), b.runs.rank, func(rec record) error {
		rank := b.runs.rank[rec.pack()]
		counts[rank].entries++
		if rank < features {
			rec = rec.dropFeatures()
		}
		if f, ok := rec.features(); ok {
			counts[rank].similar++
			if err := b.supers.add(rec, f, rank); err != nil {
				return err
			}
		}
		if w.sum.entries%4096 == 0 {
			b.c.step("merging")
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return w.addChunk(rec)
	})
	var failed sourceError
	if errors.As(err, &failed) {
		if s, ok := failed.src.(*generationSource); ok {
			return b.blame(s.g, failed.err)
		}
	}
	if err != nil {
		return fmt.Errorf("write chunks: %w", err)
	}
	b.runs.batch = batch{} // it was sorted for nothing else, and is large
	if err := b.supers.write(ctx, w, b.c.step); err != nil {
		return fmt.Errorf("write features: %w", err)
	}
	if err := b.writeFragments(w, counts); err != nil {
		return fmt.Errorf("write fragments: %w", err)
	}
	if err := w.finish(); err != nil {
		return fmt.Errorf("finish generation: %w", err)
	}
	return nil
}

// counted is what a generation has of a fragment.
type counted struct{ entries, similar uint32 }

// featuresFrom returns the lowest rank whose entries keep their features: those of
// the newest fragments, of all generations together, as far as FeatureEntries goes.
// Entries without features do not count: the days after a table's first have few.
// Whole fragments, because a backup that was half remembered would look like one
// that changed by half.
func (b *build) featuresFrom() uint32 {
	byRank := make([]uint32, len(b.l))
	for at, rank := range b.rank {
		if kind := b.state[at].kind; kind == covered || kind == loaded {
			byRank[rank] = b.state[at].similar
		}
	}
	left := int64(b.c.opts.FeatureEntries)
	for rank := len(byRank) - 1; rank >= 0; rank-- {
		if left -= int64(byRank[rank]); left < 0 {
			return uint32(rank) + 1
		}
	}
	return 0
}

// source numbers the packs of a generation that is merged.
func (b *build) source(w *writer, in *input) (source, error) {
	next := w.sum.packRows
	keep := func(fragment uint32) (uint32, bool) {
		at := int(in.at[fragment]) - 1
		if at < 0 || b.state[at].kind != covered {
			return 0, false // not listed any more, or cut
		}
		return b.rank[at], true
	}
	numbers, err := in.g.renumber(&next, keep, func(_ uint32, id []byte, rank uint32) error {
		b.runs.rank = append(b.runs.rank, rank)
		return w.addPack(id, rank)
	})
	if err != nil {
		return nil, err
	}
	return &generationSource{g: in.g, walk: in.g.tree.walk(in.g.chunks), renumber: numbers}, nil
}

// blame removes g, if it is g that is damaged, and has everything begin anew.
func (b *build) blame(g *generation, err error) error {
	if !errors.Is(err, errDamaged) {
		return fmt.Errorf("merge %s: %w", g.name(), err)
	}
	b.discard(g.number, err)
	return errAgain
}

// writeFragments says what the new generation covers: what was loaded, what the
// merged ones covered, and what the size limit keeps out.
func (b *build) writeFragments(w *writer, counts []counted) error {
	here := make([]bool, len(b.l))
	for _, in := range b.inputs {
		for _, row := range in.rows {
			here[row.at] = here[row.at] || in.absorb
		}
	}
	for at := range b.l { // by id
		f := fragmentEntry{id: b.l[at].ID, ordinal: b.rank[at], entries: b.state[at].entries, similar: b.state[at].similar}
		switch b.state[at].kind {
		case covered:
			f.entries, f.similar = counts[f.ordinal].entries, counts[f.ordinal].similar
			if !here[at] {
				continue
			}
		case loaded:
			f.entries, f.similar = counts[f.ordinal].entries, counts[f.ordinal].similar
		case leftOut:
			if f.leftOut = true; !here[at] {
				continue
			}
		case cut:
			f.leftOut = true
		default:
			continue
		}
		if err := w.addFragment(f); err != nil {
			return err
		}
	}
	return nil
}

// publish gives the new generation its name and removes those that it replaces.
// Each step must be durable before the next begins. The content is already: finish
// synced it. The name must be before the old files go, or a crash would leave
// neither, and hundreds of processes would read 64 fragments each until the next
// Refresh. A crash after the rename leaves both, which is only redundant.
func (b *build) publish() error {
	path := b.c.path(b.next, generationSuffix)
	if err := os.Rename(b.temp, path); err != nil {
		return fmt.Errorf("publish generation: %w", err)
	}
	b.c.step("renamed")
	b.temp = ""
	if err := syncDir(b.c.dir); err != nil {
		return fmt.Errorf("publish generation: %w", err)
	}
	b.report.Built = filepath.Base(path)
	for _, in := range b.inputs {
		if in.absorb {
			b.remove(in)
			b.report.Merged = append(b.report.Merged, in.g.name())
		}
	}
	return nil
}
