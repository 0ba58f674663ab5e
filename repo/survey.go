package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/storage"
)

// collector is one run of Prune.
type collector struct {
	r      *Repo
	o      PruneOptions
	now    time.Time
	report *PruneReport
	cat    *catalog.Catalog
	mark   sync.Mutex // guards cat while roots are marked, and leaf lists looked for, side by side
	roots  *rootReader

	fragments  map[string]*fragmentRead // by key; what was read once is not read again
	tombstones map[string]bool          // roots whose tombstones were found to be genuine
	began      map[int]bool             // packs that were there in the first survey
	late       []func() error           // what a broken rescue puts too late
	own        map[string]bool          // keys of the condemned lists that this run put
	hinted     map[int]*directory       // what packs hold that say so no more, for a repair

	// Of the last survey:
	first, last *gcState
	sweepable   []gcFile             // this run's lists, and ripe ones
	manifests   []storage.Info       // the roots that are not being deleted
	doomed      []storage.Info       // manifests and checkpoints of roots that are
	listed      []index.FragmentInfo // index/
	unreadable  map[int]error        // packs whose contents nobody knows
	lost        map[catalog.Key]bool // live chunks of which there is no copy
}

const surveyTries = 5

// survey looks at the whole repository, as often as it takes to see it in one piece.
// deleting says of which roots the manifests are about to be removed.
func (c *collector) survey(ctx context.Context, deleting func(root string) bool) error {
	all := ctx
	if !c.o.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, c.o.Deadline)
		defer cancel()
	}
	lostBefore := map[catalog.Key]bool{}
	for try := 0; ; try++ {
		err := c.surveyOnce(ctx, deleting)
		if err != nil && ctx.Err() != nil && all.Err() == nil {
			return errDeadline
		}
		if errors.Is(err, errAgain) && try < surveyTries {
			c.r.log.Info("the repository changed while it was listed; listing again")
			continue
		}
		if err != nil {
			return err
		}
		// A live chunk that does not resolve may have been moved meanwhile. If a second
		// survey does not find it either, it is lost: rule 8.
		again := false
		for id := range c.lost {
			again = again || !lostBefore[id]
		}
		if !again || c.r.broken.collectIgnore404 {
			return c.markLost(all)
		}
		lostBefore = c.lost
	}
}

// surveyOnce takes the steps in the only order that is safe: gc/, packs, manifests,
// fragments, gc/ again, packs again. Nothing is decided in between.
func (c *collector) surveyOnce(ctx context.Context, deleting func(string) bool) error {
	broken := &c.r.broken
	before := c.first
	var err error
	if c.first, err = c.look(ctx); err != nil {
		return err
	}
	if broken.collectRootsFirst {
		if err := c.listManifests(ctx, deleting); err != nil {
			return err
		}
		if c.first, err = c.look(ctx); err != nil {
			return err
		}
	}
	if broken.collectTombstonesFirst && before != nil {
		c.first.tombstones = before.tombstones
	}
	c.sweepable = c.sweepable[:0]
	for _, f := range c.first.files {
		if !f.lost && (c.own[f.key] || c.ripe(f.at, c.o.Grace)) { // its own packs wait too: see markSwept
			c.sweepable = append(c.sweepable, f)
		}
	}
	for i := range c.cat.Packs {
		p := &c.cat.Packs[i]
		p.First, p.Last, p.Condemned, p.Sweep, p.Named = false, false, false, false, 0
	}
	err = c.r.listPacks(ctx, func(id digest.ID, info storage.Info) error {
		p := &c.cat.Packs[c.cat.Pack(id)]
		// Until the second listing it is there: leaf lists are read from where it was moved to.
		p.First, p.Last, p.Size, p.ModTime = true, true, info.Size, info.ModTime
		return nil
	})
	if err != nil {
		return err
	}
	if !broken.collectRootsFirst {
		if err := c.listManifests(ctx, deleting); err != nil {
			return err
		}
	}
	if err := c.readFragments(ctx); err != nil {
		return err
	}
	if err := c.readFooters(ctx); err != nil {
		return err
	}
	c.cat.Sort()
	if err := c.readRoots(ctx); err != nil {
		return err
	}
	if c.last = c.first; !broken.collectOneLook {
		if c.last, err = c.look(ctx); err != nil {
			return err
		}
	}
	if err := c.listAgain(ctx); err != nil {
		return err
	}
	if broken.collectSweepLate {
		c.sweepable = slices.DeleteFunc(slices.Clone(c.last.files), func(f gcFile) bool { return f.lost || !c.ripe(f.at, c.o.Grace) })
	}
	for _, g := range []*gcState{c.first, c.last} {
		for id := range g.packs {
			if n, known := c.cat.Lookup(id); known {
				c.cat.Packs[n].Condemned = true
			}
		}
		for _, f := range g.files {
			if f.lost {
				for _, id := range f.ids {
					c.cat.Lost(id, f.at)
				}
			}
		}
	}
	c.cat.Decide()
	c.lost = make(map[catalog.Key]bool)
	for _, id := range c.cat.Unresolved() {
		c.lost[id] = true
	}
	for _, id := range c.roots.unknown {
		c.lost[catalog.KeyOf(id)] = true
	}
	return nil
}

// listAgain lists the packs a second time: what is not there any more, or was not there
// before, is no location to count on.
func (c *collector) listAgain(ctx context.Context) error {
	if c.r.broken.collectOnePackListing {
		for i := range c.cat.Packs {
			c.cat.Packs[i].Last = c.cat.Packs[i].First
		}
		return nil
	}
	for i := range c.cat.Packs {
		c.cat.Packs[i].Last = false
	}
	return c.r.listPacks(ctx, func(id digest.ID, info storage.Info) error {
		p := &c.cat.Packs[c.cat.Pack(id)]
		p.Last, p.Size, p.ModTime = true, info.Size, info.ModTime
		return nil
	})
}

// look lists gc/, and makes sure that everything which a collector must know is known.
func (c *collector) look(ctx context.Context) (*gcState, error) {
	g, err := c.r.lookGC(ctx)
	if err != nil {
		return nil, err
	}
	return g, checkFeatures(ctx, c.r.st, "gc")
}

func (c *collector) ripe(at time.Time, grace time.Duration) bool {
	return grace <= 0 || c.now.Sub(at) >= grace
}

func (c *collector) keep(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(c.report.Kept, text) {
		c.report.Kept = append(c.report.Kept, text)
	}
}

// concurrency is how many requests may be under way. With one core they come one after the
// other, in a fixed order.
func (c *collector) concurrency() int {
	if c.r.opts.Concurrency == 1 {
		return 1
	}
	return 4 * c.r.opts.Concurrency
}
