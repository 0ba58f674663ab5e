package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// RefreshReport says what a Refresh did.
type RefreshReport struct {
	Busy     bool             // another process builds; nothing was done
	Built    string           // name of the new generation, empty if none was needed
	Entries  uint64           // chunks in it
	Loaded   int              // fragments read
	Merged   []string         // generations that went into it
	Removed  []string         // generations of no use any more: all dead, or covered by others
	Damaged  []string         // generations removed because they could not be read, and why
	LeftOut  int              // listed fragments that the size limit keeps out; they cost duplicates
	Vanished int              // fragments gone since the listing
	Skipped  []*FragmentError // fragments that could not be loaded; tried again next time
}

// Refresh brings the generations up to date with the listing of index/. One process
// of a host builds; the others return at once with Busy. What it costs grows with
// what is new; its memory is bounded. Errors leave the cache as it was: a caller may
// ignore them, backups then only store some chunks twice.
func (c *Cache) Refresh(ctx context.Context, listed []FragmentInfo, load Loader) (RefreshReport, error) {
	var report RefreshReport
	if c == nil || c.dir == "" {
		return report, ErrNoCache
	}
	if err := useDir(c.dir); err != nil { // it may have been removed since
		return report, fmt.Errorf("refresh index cache: %w", err)
	}
	release, ok, err := c.lock()
	if err != nil {
		return report, fmt.Errorf("refresh index cache: %w", err)
	}
	if !ok {
		report.Busy = true
		return report, nil
	}
	defer release()
	c.step("locked")
	l := newListing(listed)
	for {
		b := &build{c: c, l: l, next: 1, report: RefreshReport{Damaged: report.Damaged, Removed: report.Removed}}
		err := b.run(ctx, load)
		b.close()
		report = b.report
		if !errors.Is(err, errAgain) {
			if err != nil {
				err = fmt.Errorf("refresh index cache: %w", err)
			}
			return report, err
		}
	}
}

// errAgain: a generation was found damaged and removed; what it covered must be
// loaded. Each time there is one generation less, so this ends.
var errAgain = errors.New("a generation was removed")

// build is one attempt of Refresh, which holds the lock.
type build struct {
	c      *Cache
	l      listing
	report RefreshReport
	inputs []*input // newest first
	next   uint64   // number of the new generation
	state  []fragmentState
	rank   []uint32 // by position in l: the fragment's ordinal, older fragments lower
	runs   runs
	supers superRuns
	packs  []byte // ids of the packs in runs, one after the other
	temp   string
}

// fragmentState is what is known of a listed fragment.
type fragmentState struct {
	kind    uint8
	entries uint32
	similar uint32 // entries with features
	bytes   int64  // that it takes, or would take, in a generation
}

const (
	uncovered = iota // no generation has it
	covered          // one has its entries
	leftOut          // one says that the size limit keeps it out
	loaded           // its entries are in runs
	cut              // the size limit keeps it out from now on
)

// input is a generation with the fragments of it that are listed.
type input struct {
	g      *generation
	at     []int32 // by fragment ordinal: position in l plus one; 0 is dead
	rows   []inputRow
	live   uint64 // entries
	absorb bool   // merge it into the new one
}

type inputRow struct {
	at      int
	entries uint32
	similar uint32
	leftOut bool
}

func (b *build) run(ctx context.Context, load Loader) error {
	b.rankFragments()
	if err := b.open(); err != nil {
		return err
	}
	b.limitSize()
	if err := b.load(ctx, load); err != nil {
		return err
	}
	b.plan()
	if !b.needed() {
		return nil
	}
	if err := b.write(ctx); err != nil {
		return err
	}
	return b.publish()
}

// open cleans the directory up and reads what the generations cover.
func (b *build) open() error {
	files, err := b.c.list()
	if err != nil {
		return err
	}
	for _, name := range files.temps { // of builders that died: this one holds the lock
		_ = os.Remove(filepath.Join(b.c.dir, name))
	}
	for _, n := range slices.Concat(files.generations, files.bad) {
		b.next = max(b.next, n+1)
	}
	gens, damaged, err := b.c.openGenerations()
	for _, g := range gens {
		b.inputs = append(b.inputs, &input{g: g})
	}
	if err != nil {
		return err
	}
	for n, err := range damaged {
		b.discard(n, err)
	}
	for _, n := range files.bad {
		// Its generation is gone by now: a mark that went first would, after a
		// crash between the two, let a damaged one be trusted.
		_ = os.Remove(b.c.path(n, badSuffix))
	}
	b.state = make([]fragmentState, len(b.l))
	b.estimate()
	var useful []*input
	for _, in := range b.inputs {
		if err := b.inspect(in); err != nil {
			b.discard(in.g.number, err)
			return errAgain
		}
		if b.cover(in) {
			useful = append(useful, in)
			continue
		}
		b.remove(in)
		b.report.Removed = append(b.report.Removed, in.g.name())
	}
	b.inputs = useful
	return nil
}

// discard removes a damaged generation. Processes that have it open keep it.
func (b *build) discard(number uint64, err error) {
	path := b.c.path(number, generationSuffix)
	_ = os.Remove(path) // if it stays, the next builder tries again
	b.c.step("discarded")
	_ = os.Remove(b.c.path(number, badSuffix))
	b.report.Damaged = append(b.report.Damaged, fmt.Sprintf("%s: %v", filepath.Base(path), err))
}

func (b *build) remove(in *input) {
	_ = os.Remove(in.g.path) // if it stays, it is found redundant next time
	b.c.step("removed")
	in.g.close()
}

// inspect reads the fragments of a generation.
func (b *build) inspect(in *input) error {
	in.at = make([]int32, in.g.span)
	return in.g.eachFragment(func(f fragmentEntry) {
		at, ok := b.l.find(f.id)
		if !ok {
			return
		}
		in.at[f.ordinal] = int32(at) + 1
		in.rows = append(in.rows, inputRow{at, f.entries, f.similar, f.leftOut})
		if !f.leftOut {
			in.live += uint64(f.entries)
		}
	})
}

// cover notes what in covers. It returns false when newer generations cover all of
// that: the builder that merged in died before it removed it.
func (b *build) cover(in *input) bool {
	useful := false
	perEntry := float64(in.g.size()) / float64(max(in.g.entries, 1))
	for _, row := range in.rows {
		s := &b.state[row.at]
		switch {
		case row.leftOut && s.kind == uncovered:
			*s = fragmentState{kind: leftOut, entries: row.entries, bytes: s.bytes}
			useful = true
		case !row.leftOut && s.kind != covered:
			*s = fragmentState{covered, row.entries, row.similar, int64(perEntry * float64(row.entries))}
			useful = true
		}
	}
	return useful
}

// rankFragments numbers the fragments by age. Of the packs that hold a chunk the one
// of the latest fragment is kept: it is the last to be collected.
func (b *build) rankFragments() {
	order := make([]int, len(b.l))
	for i := range order {
		order[i] = i
	}
	b.l.newestFirst(order)
	b.rank = make([]uint32, len(b.l))
	for i, at := range order {
		b.rank[at] = uint32(len(order) - 1 - i)
	}
}

// newestFirst returns the positions of all fragments in that order.
func (b *build) newestFirst() []int {
	order := make([]int, len(b.l))
	for at, rank := range b.rank {
		order[len(order)-1-int(rank)] = at
	}
	return order
}

// load reads and sorts what no generation covers.
func (b *build) load(ctx context.Context, load Loader) error {
	var positions []int
	for i := range b.state {
		if b.state[i].kind == uncovered {
			positions = append(positions, i)
		}
	}
	b.runs = runs{dir: b.c.dir, limit: b.c.batch}
	first := b.c.opts.FirstOffset
	skipped, err := b.l.load(ctx, positions, load, first, func(at int, packs []Pack) error {
		for i := range packs {
			b.state[at].entries += uint32(len(packs[i].Entries))
			for j := range packs[i].Entries {
				if packs[i].Entries[j].Flags&FlagFeatures != 0 {
					b.state[at].similar++
				}
			}
			b.packs = append(b.packs, packs[i].ID[:]...)
			if err := b.runs.add(&packs[i], first, b.rank[at]); err != nil {
				return err
			}
		}
		b.state[at].kind = loaded
		b.c.step("loaded")
		b.report.Loaded++
		return nil
	})
	if err != nil {
		return fmt.Errorf("load index fragments: %w", err)
	}
	for _, s := range skipped {
		if s.vanished() {
			b.report.Vanished++
		} else {
			b.report.Skipped = append(b.report.Skipped, s)
		}
	}
	return nil
}

// plan chooses the generations to merge.
func (b *build) plan() {
	fresh := uint64(b.runs.count)
	var rest []*input
	for _, in := range b.inputs {
		// One that is mostly dead weight is rewritten: that halves it at least.
		if in.absorb = in.absorb || in.g.entries-min(in.live, in.g.entries) > in.g.entries/2; in.absorb {
			fresh += in.live
		} else {
			rest = append(rest, in)
		}
	}
	if b.needed() {
		fresh = max(fresh, 1) // a file, if an empty one
	}
	slices.SortStableFunc(rest, func(x, y *input) int { return cmp.Compare(x.live, y.live) })
	sizes := make([]uint64, len(rest))
	for i, in := range rest {
		sizes[i] = in.live
	}
	for _, in := range rest[:absorb(sizes, fresh, b.c.opts.MaxGenerations)] {
		in.absorb = true
	}
	for _, s := range b.state {
		if s.kind == cut || s.kind == leftOut {
			b.report.LeftOut++
		}
	}
}

// needed reports whether there is anything to write.
func (b *build) needed() bool {
	for _, in := range b.inputs {
		if in.absorb {
			return true
		}
	}
	for _, s := range b.state {
		if s.kind == loaded || s.kind == cut {
			return true
		}
	}
	return false
}

func (b *build) close() {
	b.runs.close()
	b.supers.close()
	if b.temp != "" {
		_ = os.Remove(b.temp) // nothing, once it was renamed
	}
	for _, in := range b.inputs {
		in.g.close()
	}
}
