package index

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gpdedup/gpdedup/digest"
)

// A View reads at most this much that no generation covers: together a few hundred
// milliseconds of a remote storage, and some megabytes of memory.
const (
	recentFragments = 64
	recentBytes     = 2 << 20
)

// View answers where chunks are, and which are similar, as of one listing. Find,
// Features and Similar are safe for concurrent use.
type View struct {
	cache     *Cache
	listed    listing
	gens      []*generation // newest first
	recent    batch         // beyond the generations
	packs     []digest.ID   // of recent, by the number in its records
	fragments []int         // of packs: positions in listed
	skipped   []*FragmentError
	pool      sync.Pool // of *scratch

	similarOnce sync.Once
	similar     [superFeatures][]recentFeature // of recent

	mu      sync.Mutex
	damaged []string
}

// View opens the generations for reading and loads the newest of the listed
// fragments that they do not cover: at most 64, of at most 2 MiB together. It never
// builds and never waits for a builder. The only error is the context's: what cannot
// be read is left out and costs duplicates (see Damaged and Skipped).
func (c *Cache) View(ctx context.Context, listed []FragmentInfo, load Loader) (*View, error) {
	v := &View{cache: c}
	if c == nil {
		return v, ctx.Err()
	}
	l := newListing(listed)
	v.listed = slices.Clone(l) // l may be the caller's
	covered := make([]bool, len(l))
	if c.dir != "" {
		gens, damaged, _ := c.openGenerations() // what it cannot open it misses
		for n, err := range damaged {
			if errors.Is(err, errDamaged) {
				v.report(n, err)
			}
		}
		for _, g := range gens {
			if err := g.markLive(l, covered); err != nil {
				v.fail(g, err)
				g.close()
				continue
			}
			v.gens = append(v.gens, g)
		}
	}
	if err := v.loadRecent(ctx, l, covered, load); err != nil {
		_ = v.Close() // never fails
		return nil, err
	}
	return v, nil
}

// markLive notes which fragments of g are listed: only their entries count. Those
// that are become covered.
func (g *generation) markLive(l listing, covered []bool) error {
	g.listed = make([]uint32, g.span)
	next := 0 // both are in the order of the ids
	return g.eachFragment(func(f fragmentEntry) {
		for next < len(l) && l[next].ID.Compare(f.id) < 0 {
			next++
		}
		if next < len(l) && l[next].ID == f.id {
			g.listed[f.ordinal] = uint32(next) + 1
			covered[next] = true
		}
	})
}

func (v *View) loadRecent(ctx context.Context, l listing, covered []bool, load Loader) error {
	var open []int
	for i := range l {
		if !covered[i] {
			open = append(open, i)
		}
	}
	l.newestFirst(open)
	var chosen []int
	left := int64(recentBytes)
	for _, i := range open {
		if len(chosen) == recentFragments {
			break
		}
		if l[i].Size <= left {
			chosen, left = append(chosen, i), left-l[i].Size
		}
	}
	var rank []uint32 // by pack
	skipped, err := l.load(ctx, chosen, load, v.cache.opts.FirstOffset, func(at int, packs []Pack) error {
		for i := range packs {
			v.recent.add(&packs[i], uint32(len(v.packs)), v.cache.opts.FirstOffset)
			v.packs = append(v.packs, packs[i].ID)
			v.fragments = append(v.fragments, at)
			rank = append(rank, uint32(len(chosen)-slices.Index(chosen, at)))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load recent index fragments: %w", err)
	}
	v.skipped = skipped
	v.recent.sort(rank)
	return nil
}

// Find returns a location of the chunk whose pack is usable, the most recent first;
// a nil usable accepts every pack. usable is called while nothing is locked. For a
// delta only the pack of the chunk itself is asked about: whoever needs the base
// asks for it by its own name.
//
// A location is as the fragment gave it. What it costs if a fragment itself was
// wrong is a failed read: readers verify each chunk against its name.
func (v *View) Find(id digest.ID, usable func(pack digest.ID) bool) (Location, bool) {
	s := v.scratch()
	defer v.pool.Put(s)
	rec, pack := v.lookup(&id, usable, s)
	if rec == nil {
		return Location{}, false
	}
	return rec.location(pack), true
}

// Features returns the similarity features that the index holds for the chunk.
func (v *View) Features(id digest.ID) (features [3]uint64, ok bool) {
	s := v.scratch()
	defer v.pool.Put(s)
	rec, _ := v.lookup(&id, nil, s)
	if rec == nil {
		return features, false
	}
	return rec.features()
}

func (v *View) scratch() *scratch {
	if s, ok := v.pool.Get().(*scratch); ok {
		return s
	}
	return new(scratch)
}

// lookup returns nil for a miss. The record lies in s or in v.recent.
func (v *View) lookup(id *digest.ID, usable func(digest.ID) bool, s *scratch) (record, digest.ID) {
	for i, to := v.recent.find(id); i < to; i++ {
		rec := v.recent.record(i)
		if pack := v.packs[rec.pack()]; usable == nil || usable(pack) {
			return rec, pack
		}
	}
	for _, g := range v.gens {
		if g.broken.Load() {
			continue
		}
		rec, pack, ok, err := g.find(id, s)
		if err != nil {
			v.fail(g, err)
			continue
		}
		if ok && (usable == nil || usable(pack)) {
			return rec, pack
		}
	}
	return nil, digest.ID{}
}

// fail takes g out of use, here and, by a mark, for everybody else.
func (v *View) fail(g *generation, err error) {
	if g.broken.Swap(true) {
		return
	}
	v.cache.markBad(g.number)
	v.report(g.number, err)
}

func (v *View) report(number uint64, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.damaged = append(v.damaged, fmt.Sprintf("%s: %v", filepath.Base(v.cache.path(number, generationSuffix)), err))
}

// Damaged names the generations that were found unusable so far, and why. The next
// Refresh replaces them.
func (v *View) Damaged() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.damaged)
}

// Skipped returns the fragments that could not be loaded when the View was opened.
func (v *View) Skipped() []*FragmentError { return slices.Clone(v.skipped) }

// Close releases the generations. It must not run beside Find or Similar; after it,
// they find nothing.
func (v *View) Close() error {
	closeAll(v.gens)
	v.gens, v.packs, v.recent = nil, nil, batch{}
	v.similar = [superFeatures][]recentFeature{}
	return nil
}
