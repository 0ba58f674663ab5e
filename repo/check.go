package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// CheckLevel says how much a check reads.
type CheckLevel int

// The levels, each including the one before.
const (
	CheckList    CheckLevel = iota // listings, index fragments and manifests
	CheckFooters                   // also the footer of every pack
	CheckData                      // also every byte of every pack
)

// CheckOptions say what to check.
type CheckOptions struct {
	Level CheckLevel
	// Progress is told, one call at a time, how many bytes of how many were
	// dealt with; packs count with their size.
	Progress func(done, total int64)
}

// Damage is one object that is not what it should be.
type Damage struct {
	Object  string   `json:"object"`
	Problem string   `json:"problem"`
	Streams []string `json:"streams"` // that cannot be restored because of it
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
}

// checker is one run of Check.
type checker struct {
	r  *Repo
	o  CheckOptions
	mu sync.Mutex // guards what follows

	report CheckReport
	damage map[string]*Damage
	packs  map[digest.ID]int64 // listed, with sizes
	bad    map[digest.ID]bool
	gone   map[digest.ID]bool          // packs that were listed and then were not there
	swept  map[digest.ID]bool          // packs that a collector condemned: they may be gone
	chunks map[digest.ID]*checkedChunk // in packs that can be read
	deltas map[digest.ID]error         // result of reading them, with their bases
	done   int64
	total  int64
}

// Check reads the repository and reports what is damaged. An error means that the
// check itself could not be done.
func (r *Repo) Check(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	c := &checker{
		r: r, o: o, damage: make(map[string]*Damage), packs: make(map[digest.ID]int64),
		bad: make(map[digest.ID]bool), gone: make(map[digest.ID]bool), chunks: make(map[digest.ID]*checkedChunk), deltas: make(map[digest.ID]error),
	}
	c.report.Damage, c.report.Warnings = []Damage{}, []string{}
	var fragments, manifests, others []storage.Info
	err := r.st.List(ctx, "", func(info storage.Info) error {
		switch kind := objectKind(info.Key); kind {
		case "pack": // below
		case "index fragment":
			fragments = append(fragments, info)
		case "manifest", "checkpoint":
			manifests = append(manifests, info)
		case "foreign":
			c.warn("%s is none of gpdedup's objects", info.Key)
		default:
			others = append(others, info)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list repository: %w", err)
	}
	// The packs are listed after what names them, so that a stream which is being
	// stored has its packs listed if its manifest is. They are read first, so that
	// every chunk that is missing when it is looked for is really missing.
	if err := r.st.List(ctx, packPrefix, func(info storage.Info) error { c.listPack(info); return nil }); err != nil {
		return nil, fmt.Errorf("list repository: %w", err)
	}
	gc, err := r.lookGC(ctx)
	if err != nil && !isUnusable(err) {
		return nil, err
	}
	if gc != nil { // else its list is found damaged below
		c.swept = gc.packs
	}
	for _, step := range []func() error{
		func() error { return c.checkPacks(ctx) },
		func() error { return c.checkFragments(ctx, fragments) },
		func() error { return c.checkManifests(ctx, manifests) },
		func() error { return c.checkOthers(ctx, others) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	for _, d := range c.damage {
		slices.Sort(d.Streams)
		d.Streams = slices.Compact(d.Streams)
		c.report.Damage = append(c.report.Damage, *d)
	}
	slices.SortFunc(c.report.Damage, func(a, b Damage) int { return strings.Compare(a.Object, b.Object) })
	slices.Sort(c.report.Warnings)
	return &c.report, nil
}

func (c *checker) warn(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Warnings = append(c.report.Warnings, fmt.Sprintf(format, args...))
}

// blame records that an object is damaged and, if one is given, that a stream
// cannot be restored because of it.
func (c *checker) blame(object, problem, stream string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.damage[object]
	if d == nil {
		// The errors of single objects begin with what the report says anyway.
		problem = strings.TrimPrefix(strings.TrimPrefix(problem, object+": "), ErrDamaged.Error()+": ")
		d = &Damage{Object: object, Problem: problem, Streams: []string{}}
		c.damage[object] = d
	}
	if stream != "" {
		d.Streams = append(d.Streams, stream)
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

func (c *checker) listPack(info storage.Info) {
	id, err := digest.Parse(info.Key[strings.LastIndexByte(info.Key, '/')+1:])
	if err != nil || packKey(id) != info.Key {
		c.warn("%s is none of gpdedup's objects", info.Key)
		return
	}
	c.packs[id] = info.Size
	c.total += info.Size
}

// checkPacks reads packs as far as the level asks, and takes note of the chunks
// that can be read.
func (c *checker) checkPacks(ctx context.Context) error {
	if c.o.Level < CheckFooters {
		return nil
	}
	limit := readsInFlight
	if c.o.Level == CheckData {
		limit = c.r.opts.Concurrency // whole packs are held in memory
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for id, size := range c.packs {
		g.Go(func() error {
			err := c.checkPack(ctx, id, size)
			if err != nil && isUnusable(err) && ctx.Err() == nil {
				err = c.checkPack(ctx, id, size) // it may have been the way here
			}
			c.progress(size)
			if err == nil {
				return nil
			}
			if !isUnusable(err) || ctx.Err() != nil {
				return err
			}
			if errors.Is(err, storage.ErrNotExist) {
				// Pruned meanwhile: no damage unless a stream needs it.
				c.mu.Lock()
				c.gone[id] = true
				c.mu.Unlock()
				return nil
			}
			c.blame(packKey(id), err.Error(), "")
			c.mu.Lock()
			c.bad[id] = true
			c.mu.Unlock()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("check packs: %w", err)
	}
	return nil
}

func (c *checker) checkPack(ctx context.Context, id digest.ID, size int64) error {
	if c.o.Level == CheckFooters {
		dir, err := c.r.readFooter(ctx, id, size)
		if err != nil {
			return err
		}
		c.addChunks(&dir, nil)
		return nil
	}
	object, err := c.r.get(ctx, packKey(id), pack.MaxSize)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.report.BytesRead += int64(len(object))
	c.mu.Unlock()
	dir, err := pack.Parse(c.r.keys, id, object)
	if err != nil {
		// What can still be read of it counts: a stream is damaged only if it
		// needs what cannot.
		c.salvage(ctx, id, size, object)
		return err
	}
	return c.readChunks(&dir, object)
}

// salvage takes note of the good chunks of a damaged pack.
func (c *checker) salvage(ctx context.Context, id digest.ID, size int64, object []byte) {
	dir, err := c.r.readFooter(ctx, id, size)
	if err == nil {
		_ = c.readChunks(&dir, object) // the damage is known already
	}
}

// readChunks opens, decodes and verifies every chunk of a pack, and returns the
// first failure.
func (c *checker) readChunks(dir *index.Pack, object []byte) error {
	s, err := c.r.keys.OpenObject(seal.Pack, object)
	if err != nil {
		return err
	}
	f := c.r.newFetcher()
	defer f.close()
	namer := c.r.keys.Namer()
	broken := make(map[digest.ID]bool)
	var first error
	dir.Locations(pack.FirstOffset, func(id digest.ID, loc index.Location) {
		row := manifest.Chunk{ID: id, Raw: loc.Raw, Ordinal: loc.Ordinal, Encoding: loc.Encoding}
		end := uint64(loc.Offset) + uint64(loc.Stored)
		err := fmt.Errorf("%w: chunk %s lies beyond the end", ErrDamaged, id.Short())
		if end <= uint64(len(object)) {
			var out []byte
			if loc.Encoding == index.Delta { // its name can be checked with its base only: see checkDeltas
				out, err = pack.OpenChunk(s, c.r.buffers.get(int(loc.Stored)), id, loc.Ordinal, object[loc.Offset:end])
			} else {
				out, err = f.decode(s, c.r.buffers.get(int(loc.Raw)+compress.Slack), &row, object[loc.Offset:end], nil, namer)
			}
			c.r.buffers.put(out)
		}
		if err != nil {
			broken[id] = true
			if first == nil {
				first = fmt.Errorf("chunk %s: %w", id.Short(), err)
			}
		}
	})
	c.addChunks(dir, broken)
	return first
}

func (c *checker) addChunks(dir *index.Pack, broken map[digest.ID]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Packs++
	c.report.Chunks += len(dir.Entries)
	for i := range dir.Entries {
		if e := &dir.Entries[i]; !broken[e.ID] {
			c.addChunk(e)
		}
	}
}

// checkedChunk is what is known of a chunk that lies in packs which can be read.
type checkedChunk struct {
	raw    uint32
	whole  bool        // there is a copy that is no delta
	deltas []deltaCopy // its other copies
}

// deltaCopy is one copy of a chunk that needs a base less deep than itself.
type deltaCopy struct {
	base  digest.ID
	depth uint8
}

func (c *checker) addChunk(e *index.Entry) {
	k := c.chunks[e.ID]
	if k == nil {
		k = &checkedChunk{raw: e.Raw}
		c.chunks[e.ID] = k
	}
	if e.Encoding != index.Delta {
		k.whole = true
	} else if at := (deltaCopy{e.Base, e.Depth}); !slices.Contains(k.deltas, at) {
		k.deltas = append(k.deltas, at)
	}
}

// ends reports whether a chunk can be read with all the bases that it needs: a chain of
// ever less depth ends in a copy that is no delta. What manifests say of bases are hints;
// a chunk may have been stored anew without them.
func (c *checker) ends(id digest.ID, below int) bool {
	k := c.chunks[id]
	if k == nil {
		return false
	}
	if k.whole {
		return true
	}
	for _, d := range k.deltas {
		if int(d.depth) < below && c.ends(d.base, int(d.depth)) {
			return true
		}
	}
	return false
}

// checkFragments reads every index fragment.
func (c *checker) checkFragments(ctx context.Context, fragments []storage.Info) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsInFlight)
	for _, info := range fragments {
		g.Go(func() error {
			id, err := digest.Parse(strings.TrimPrefix(info.Key, indexPrefix))
			if err != nil {
				c.warn("%s is none of gpdedup's objects", info.Key)
				return nil //nolint:nilerr // it is none of ours
			}
			packs, err := c.r.loadFragment(ctx, id)
			if errors.Is(err, storage.ErrNotExist) {
				return nil // merged into another meanwhile
			}
			if err != nil {
				if !isUnusable(err) || ctx.Err() != nil {
					return err
				}
				c.blame(info.Key, err.Error(), "")
				return nil
			}
			c.mu.Lock()
			c.report.Fragments++
			c.report.BytesRead += info.Size
			c.mu.Unlock()
			for i := range packs {
				c.checkDirectory(info.Key, &packs[i])
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("check index: %w", err)
	}
	return nil
}

// checkDirectory compares what a fragment says about a pack with the pack.
func (c *checker) checkDirectory(fragment string, p *index.Pack) {
	size, there := c.packs[p.ID]
	switch {
	case !there && c.swept[p.ID]:
		c.warn("%s names pack %s, which was collected", fragment, p.ID.Short())
		return
	case !there:
		// Writers would go on to count on it, and fail.
		c.blame(fragment, fmt.Sprintf("names pack %s, which is gone: backups of what it held fail until this fragment is moved away",
			p.ID.Short()), "")
		return
	case size != int64(p.Size):
		c.blame(packKey(p.ID), fmt.Sprintf("%d bytes long; the index says %d", size, p.Size), "")
		c.mu.Lock()
		c.bad[p.ID] = true
		c.mu.Unlock()
		return
	}
	if c.o.Level < CheckFooters {
		c.addChunks(p, nil)
	}
}
