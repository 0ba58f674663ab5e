package repo

import (
	"context"
	"fmt"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// planAll plans the whole stream, and makes sure that its list is what the
// manifest's identity says.
func (s *restorer) planAll(ctx context.Context) error {
	identity := manifest.NewIdentity()
	tables := func(t *manifest.Table) error {
		t, err := s.f.rehint(ctx, t)
		if err != nil {
			return err
		}
		for i := range t.Rows {
			c := &t.Rows[i]
			identity.Add(c.ID, c.Raw)
			if err := s.add(ctx, t, piece{i, c, 0, c.Raw}); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range s.m.Leaves {
		t, err := s.f.leaf(ctx, s.m, i)
		if err != nil {
			return err
		}
		if err := tables(t); err != nil {
			return err
		}
	}
	if err := tables(&s.m.Table); err != nil {
		return err
	}
	// The rows cover the manifest's length: that was checked with the manifest and
	// with every leaf. The last run is handed over only now, so nothing ends as a
	// whole stream whose list is wrong.
	if identity.Sum() != s.m.Identity {
		return fmt.Errorf("%w: the chunk list does not match the stream's identity", ErrDamaged)
	}
	return s.flush(ctx)
}

// planRanges plans pieces of the stream, reading only the leaf lists they need.
func (s *restorer) planRanges(ctx context.Context, ranges []Range) error {
	loaded := -1
	var leaf *manifest.Table
	for _, x := range ranges {
		if x.Start == x.End {
			continue
		}
		var begin uint64
		for i := range s.m.Leaves {
			end := begin + s.m.Leaves[i].Bytes
			if x.Start < end && x.End > begin {
				if loaded != i {
					t, err := s.f.leaf(ctx, s.m, i)
					if err != nil {
						return err
					}
					if leaf, err = s.f.rehint(ctx, t); err != nil {
						return err
					}
					loaded = i
				}
				if err := s.addRange(ctx, leaf, begin, x); err != nil {
					return err
				}
			}
			begin = end
		}
		own, err := s.f.rehint(ctx, &s.m.Table)
		if err != nil {
			return err
		}
		if err := s.addRange(ctx, own, begin, x); err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

// addRange plans what of the range lies in the table, whose rows begin at the
// given offset of the stream.
func (s *restorer) addRange(ctx context.Context, t *manifest.Table, begin uint64, x Range) error {
	for i := range t.Rows {
		c := &t.Rows[i]
		end := begin + uint64(c.Raw)
		if x.Start < end && x.End > begin {
			p := piece{i, c, 0, c.Raw}
			if x.Start > begin {
				p.from = uint32(x.Start - begin)
			}
			if x.End < end {
				p.to = uint32(x.End - begin)
			}
			if err := s.add(ctx, t, p); err != nil {
				return err
			}
		}
		if begin = end; begin >= x.End {
			break
		}
	}
	return nil
}

// add puts a piece into the open run, or begins another.
func (s *restorer) add(ctx context.Context, t *manifest.Table, p piece) error {
	start, end := int64(p.chunk.Offset), int64(p.chunk.Offset)+int64(p.chunk.Stored)
	if r := s.open; r != nil {
		last := r.pieces[len(r.pieces)-1].chunk
		if r.table == t && last.Pack == p.chunk.Pack && start >= r.end && start-r.end <= maxGap &&
			r.raw+int64(p.chunk.Raw) <= maxRun && end-r.start <= maxSpan {
			r.pieces = append(r.pieces, p)
			r.end = end
			r.raw += int64(p.chunk.Raw)
			return nil
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.open = &run{
		table: t, pieces: []piece{p}, start: start, end: end, raw: int64(p.chunk.Raw), done: make(chan struct{}),
	}
	return nil
}
