package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/retention"
	"github.com/gpdedup/gpdedup/storage"
)

// CheckLevel says how much a check reads.
type CheckLevel int

// The levels, each including the one before.
const (
	CheckList    CheckLevel = iota // listings, index fragments and manifests
	CheckFooters                   // also the footer of every pack
	CheckData                      // also every byte of packs: of all, or of those that are chosen
)

// CheckOptions say what to check.
type CheckOptions struct {
	Level CheckLevel
	// Choose says which packs CheckData reads; the zero value: all.
	Choose PackChoice
	// Record puts what was read into the repository, for later checks to choose by.
	Record bool
	// Progress is told, one call at a time, how many bytes of how many were
	// dealt with; packs count with their size.
	Progress func(done, total int64)
}

// PackChoice says which packs a check reads to the last byte. What several fields say
// must all hold. Packs are read in order of their last reading, those never read first.
type PackChoice struct {
	Part, Parts int           // of Parts parts, by pack id, the one numbered Part, from 1; 0: all
	Percent     float64       // of the bytes of all packs, at most; 0: all
	Bytes       int64         // at most so many; 0: all
	OlderThan   retention.Age // not those that were read since
	New         bool          // only packs that streams refer to and that no check has read
	Deadline    time.Time     // begin no more from then on
}

// Damage is one object that is not what it should be.
type Damage struct {
	Object  string   `json:"object"`
	Problem string   `json:"problem"`
	Streams []string `json:"streams"` // that cannot be restored because of it
	Names   []Name   `json:"-"`       // of the same streams
}

// CheckReport is what Check found.
type CheckReport struct {
	Packs     int      `json:"packs"`
	Chunks    int      `json:"chunks"` // in packs, copies counted
	Fragments int      `json:"fragments"`
	Manifests int      `json:"manifests"`
	BytesRead int64    `json:"bytes_read"`
	Damage    []Damage `json:"damage"`
	Warnings  []string `json:"warnings"` // nothing is lost, but somebody should know

	PackBytes  int64      `json:"pack_bytes"` // of all packs
	ReadPacks  int        `json:"read_packs"` // whole, by this check
	Deltas     int        `json:"deltas"`     // decoded with their bases and verified
	NeverRead  int        `json:"never_read"` // packs that no check has read, as far as was recorded
	OldestRead *time.Time `json:"oldest_read,omitempty"`
	Unfinished bool       `json:"unfinished"` // the deadline came first
	Cached     uint64     `json:"cached"`     // entries of this host's index cache that were compared
}

// checker is one run of Check.
type checker struct {
	r       *Repo
	o       CheckOptions
	now     time.Time
	mu      sync.Mutex // guards what follows, and cat where it changes
	cat     catalog.Catalog
	sums    []uint64 // by pack number: of what its footer says
	results *checkResults
	repair  bool     // read whole what was found damaged before
	gc      *gcState // nil: a list cannot be read

	report    CheckReport
	damage    map[string]*Damage
	blamed    map[[2]string]bool   // objects, with the streams that need them
	bad       map[int]error        // packs, by number, that are damaged
	whole     map[int]bool         // packs that were read whole
	gone      map[int]bool         // packs that were listed and then were not there
	swept     map[digest.ID]bool   // packs that a collector condemned: they may be gone
	failed    map[catalog.Key]*row // chunks that streams need and that cannot be read
	fragments []checkedFragment
	streams   []storage.Info // manifests and checkpoints
	unread    []storage.Info // of these, those that cannot be read, or whose leaf lists cannot
	lists     []string       // damaged objects under gc/
	done      int64
	total     int64
}

// row is a chunk that cannot be read, and what is to blame.
type row struct {
	id     digest.ID
	object string
	cause  error
}

// Check reads the repository and reports what is damaged. Everything that seems to be is
// read twice. An error means that the check itself could not be done.
func (r *Repo) Check(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	c := r.newChecker(o)
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	return c.finish(), nil
}

func (r *Repo) newChecker(o CheckOptions) *checker {
	c := &checker{
		r: r, o: o, now: time.Now(), damage: make(map[string]*Damage), blamed: make(map[[2]string]bool), bad: make(map[int]error), gone: make(map[int]bool), whole: make(map[int]bool),
		failed: make(map[catalog.Key]*row),
	}
	c.report.Damage, c.report.Warnings = []Damage{}, []string{}
	return c
}

func (c *checker) run(ctx context.Context) error {
	var fragments, others []storage.Info
	c.streams = nil
	err := c.r.st.List(ctx, "", func(info storage.Info) error {
		switch kind := objectKind(info.Key); kind {
		case "pack", "list of checked packs": // below
		case "index fragment":
			fragments = append(fragments, info)
		case "manifest", "checkpoint":
			c.streams = append(c.streams, info)
		case "foreign":
			c.warn("%s is none of gpdedup's objects", info.Key)
		default:
			others = append(others, info)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list repository: %w", err)
	}
	// The packs are listed after what names them, so that a stream which is being
	// stored has its packs listed if its manifest is. They are read first, so that
	// every chunk that is missing when it is looked for is really missing.
	if err := c.listPacks(ctx, fragments); err != nil {
		return err
	}
	gc, err := c.r.lookGC(ctx)
	if err != nil && !isUnusable(err) {
		return err
	}
	if c.gc = gc; gc != nil { // else its list is found damaged below
		c.swept = gc.packs
	}
	if c.results, err = c.r.readResults(ctx); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return c.checkPacks(ctx) },
		func() error { return c.checkFragments(ctx, fragments) },
		func() error { return c.checkDeltas(ctx) },
		func() error { return c.checkCache(ctx) },
		func() error { return c.checkManifests(ctx, c.streams) },
		func() error { return c.checkOthers(ctx, others) },
		func() error { return c.record(ctx) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// finish sums up.
func (c *checker) finish() *CheckReport {
	for _, d := range c.damage {
		slices.Sort(d.Streams)
		c.report.Damage = append(c.report.Damage, *d)
	}
	slices.SortFunc(c.report.Damage, func(a, b Damage) int { return strings.Compare(a.Object, b.Object) })
	slices.Sort(c.report.Warnings)
	c.report.Warnings = slices.Compact(c.report.Warnings)
	return &c.report
}

// listPacks fills the catalog with the packs that there are.
func (c *checker) listPacks(ctx context.Context, fragments []storage.Info) error {
	err := c.r.st.List(ctx, packPrefix, func(info storage.Info) error {
		id, err := digest.Parse(info.Key[strings.LastIndexByte(info.Key, '/')+1:])
		if err != nil || packKey(id) != info.Key {
			c.warn("%s is none of gpdedup's objects", info.Key)
			return nil //nolint:nilerr // it is none of ours
		}
		p := &c.cat.Packs[c.cat.Pack(id)]
		// For who restores, every pack that is there counts.
		p.First, p.Last, p.Named, p.Size, p.ModTime = true, true, 1, info.Size, info.ModTime
		c.report.PackBytes += info.Size
		return nil
	})
	if err != nil {
		return fmt.Errorf("list repository: %w", err)
	}
	c.sums = make([]uint64, len(c.cat.Packs))
	return nil
}

func (c *checker) warn(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Warnings = append(c.report.Warnings, fmt.Sprintf(format, args...))
}

// blame records that an object is damaged and, if one is given, that a stream
// cannot be restored because of it.
func (c *checker) blame(object, problem string, stream *checkedStream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.damage[object]
	if d == nil {
		// The errors of single objects begin with what the report says anyway.
		problem = strings.TrimPrefix(strings.TrimPrefix(problem, object+": "), ErrDamaged.Error()+": ")
		d = &Damage{Object: object, Problem: problem, Streams: []string{}}
		c.damage[object] = d
	}
	if pair := [2]string{object, ""}; stream != nil {
		if pair[1] = stream.label; !c.blamed[pair] {
			c.blamed[pair] = true
			d.Streams = append(d.Streams, stream.label)
			d.Names = append(d.Names, stream.name)
		}
	}
}

func (c *checker) progress(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.o.Progress != nil {
		c.o.Progress(c.done, c.total)
	}
}

// twice calls fn again if what it found is damage: it may have been the way here.
func twice(ctx context.Context, fn func() error) error {
	err := fn()
	if err != nil && isDamage(err) && !errors.Is(err, storage.ErrNotExist) && ctx.Err() == nil {
		err = fn()
	}
	return err
}
