package repo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gpdedup/gpdedup/repo/catalog"
)

// The times that a collector waits if it is not told otherwise. They spare writers
// copying and readers failed reads; nothing depends on them, or on any clock.
const (
	DefaultGrace  = 24 * time.Hour // between condemning and removing
	DefaultMinAge = 24 * time.Hour // of packs, before they can be condemned

	// DefaultMaxUnused is how much of what is kept may be of no use, as a fraction.
	DefaultMaxUnused = 0.05
)

// PruneOptions say how to collect garbage.
type PruneOptions struct {
	// Grace is how long a pack stays condemned, and a root deleted, before it is removed.
	Grace time.Duration
	// MinAge is how old a pack must be to be condemned, a checkpoint to be superfluous, and
	// a pack without a fragment to be given one.
	MinAge time.Duration
	// MaxUnused is what fraction of the bytes kept may be of no use. Packs beyond it are
	// rewritten. Negative: nothing is rewritten, only packs of no use at all go.
	MaxUnused float64
	// RepackSmall merges small packs, in the order of the newest manifests.
	RepackSmall bool
	// Exclusive says that nobody else is at work: what processes that died left in the
	// storage goes whatever its age.
	Exclusive bool
	// DryRun reports what would be done and changes nothing.
	DryRun bool
	// Deadline, if not zero, is from when nothing new is begun.
	Deadline time.Time
	// AbandonedAfter, if not zero, is how old checkpoints of a stream that was never
	// finished must be to be removed.
	AbandonedAfter time.Duration
	// Progress is told what is going on: one call at a time.
	Progress func(stage string, done, total int64)
}

// PruneReport says what Prune found and did. Bytes are those of objects.
type PruneReport struct {
	DryRun    bool  `json:"dry_run"`
	Packs     int   `json:"packs"` // found
	PackBytes int64 `json:"pack_bytes"`
	Chunks    int   `json:"chunks"` // found, copies counted
	Manifests int   `json:"manifests"`

	RemovedPacks       int   `json:"removed_packs"`
	RemovedBytes       int64 `json:"removed_bytes"`
	RemovedManifests   int   `json:"removed_manifests"`
	RemovedCheckpoints int   `json:"removed_checkpoints"`

	CondemnedPacks int   `json:"condemned_packs"` // by this run
	CondemnedBytes int64 `json:"condemned_bytes"`
	CondemnedRoots int   `json:"condemned_roots"`

	CopiedChunks  int   `json:"copied_chunks"` // out of packs that this run condemned
	CopiedBytes   int64 `json:"copied_bytes"`
	RecodedChunks int   `json:"recoded_chunks"` // of these, encoded anew because nothing else needed their bases
	RescuedChunks int   `json:"rescued_chunks"` // out of packs that were to be removed
	RescuedBytes  int64 `json:"rescued_bytes"`

	WaitingPacks int   `json:"waiting_packs"` // condemned, and to be removed later
	WaitingBytes int64 `json:"waiting_bytes"`
	WaitingRoots int   `json:"waiting_roots"` // deleted, and to be removed later
	UnusedBytes  int64 `json:"unused_bytes"`  // of no use, in packs that are kept
	KeptBytes    int64 `json:"kept_bytes"`    // of packs that are not condemned
	YoungBytes   int64 `json:"young_bytes"`   // of these, of packs that nothing needs, but a writer may be about to: they are younger than MinAge

	FoldedPacks     int `json:"folded_packs"` // that no index fragment named
	MergedFragments int `json:"merged_fragments"`
	RemovedLists    int `json:"removed_lists"`

	RemovedTemporaries int `json:"removed_temporaries"` // of processes that died

	BytesRead int64 `json:"bytes_read"` // of packs, to copy chunks

	LostChunks  int      `json:"lost_chunks"` // newly marked lost
	Checkpoints int      `json:"checkpoints"` // of streams that were never finished
	Kept        []string `json:"kept"`        // what could not be removed, and why
	Unfinished  bool     `json:"unfinished"`  // the deadline came first
}

// errAgain: the repository changed while it was being looked at.
var errAgain = errors.New("the repository changed meanwhile")

// errDeadline: nothing new is begun.
var errDeadline = errors.New("no time left")

// Prune collects garbage. Any number of writers, readers and other collectors may run
// beside it, and it may be stopped at any point: see docs/format.md, "What a collector
// owes". What it condemns it removes when the grace has passed, in a later run; with no
// grace, in this one.
//
// An error for which errors.Is(err, ErrDamaged) means that what must be known to collect
// safely is damaged; then nothing was condemned and nothing removed.
func (r *Repo) Prune(ctx context.Context, o PruneOptions) (*PruneReport, error) {
	c := &collector{
		r: r, o: o, now: time.Now(), report: &PruneReport{DryRun: o.DryRun, Kept: []string{}},
		cat: &catalog.Catalog{}, fragments: make(map[string]*fragmentRead), roots: newRootReader(r),
		own: make(map[string]bool),
	}
	if o.Progress == nil {
		c.o.Progress = func(string, int64, int64) {}
	}
	c.roots.locate = c.locate
	c.cat.Broken = catalog.Broken{
		CountCondemned: r.broken.collectCountCondemned, CountUnnamed: r.broken.collectCountUnnamed,
		CountBaseless: r.broken.collectCountBaseless, IgnoreBases: r.broken.collectIgnoreBases || r.broken.collectHintBases,
	}
	err := c.run(ctx)
	if errors.Is(err, errDeadline) {
		c.report.Unfinished, err = true, nil
	}
	if err != nil {
		return c.report, fmt.Errorf("prune: %w", err)
	}
	return c.report, nil
}

func (c *collector) run(ctx context.Context) error {
	defer c.roots.close()
	if err := c.survey(ctx, c.planned); err != nil {
		return err
	}
	c.describe()
	condemned, err := c.condemn(ctx)
	if err != nil || c.o.DryRun {
		return err
	}
	// What was listed before the list was put decides nothing: rule 3.
	if condemned && !c.r.broken.collectCondemnLate {
		if err := c.survey(ctx, c.named); err != nil {
			return err
		}
	} else {
		c.cat.Decide()
	}
	for {
		again, err := c.sweep(ctx)
		if err != nil {
			return err
		}
		if err := c.mergeFragments(ctx); err != nil {
			return err
		}
		if !again {
			break
		}
		// What only copies in packs now gone needed is garbage to a new survey.
		if err := c.survey(ctx, c.named); err != nil {
			return err
		}
	}
	return c.tidy(ctx)
}

// expired reports whether the deadline has passed.
func (c *collector) expired() bool {
	return !c.o.Deadline.IsZero() && !time.Now().Before(c.o.Deadline)
}
