package repo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// copier copies chunks from packs to new packs, in the order of a plan.
type copier struct {
	c       *collector
	plan    *catalog.Plan
	fetcher *fetcher

	features *namespaceFeatures // of what is encoded anew

	dirs    *directories
	builder *pack.Builder
	written []index.Pack // stored, and not yet named by a fragment
	named   []index.Pack // and named
	entries int
	failed  map[catalog.Key]error // chunks that could not be copied
	done    int64
	total   int64

	chunks, recoded int
	bytes           int64

	mu sync.Mutex // guards what the report says was read, beside workers
}

func (c *collector) newCopier(plan *catalog.Plan) *copier {
	return &copier{
		c: c, plan: plan, fetcher: c.r.newFetcher(), dirs: newDirectories(maxDirectories, c.readDirectory),
		failed: make(map[catalog.Key]error), total: plan.Bytes(),
		features: newNamespaceFeatures(c.r.keys.FeatureKey(), c.manifests),
	}
}

// copyWindow is how many bytes of chunks are read before they are written.
const copyWindow = 32 << 20

// run copies everything, names the new packs in fragments, and adds them to the catalog.
// A chunk that cannot be read is left out, with what needs it as its base. When the
// deadline has come it stops with errDeadline, having named what it copied.
func (x *copier) run(ctx context.Context, stage string) error {
	list := x.plan.Copies
	for len(list) > 0 {
		if x.c.expired() {
			return cmp.Or(x.finish(ctx), errDeadline)
		}
		n, size := 0, int64(0)
		for n < len(list) && (n == 0 || size+list[n].Stored <= copyWindow && list[n].Recode == list[0].Recode) {
			size += list[n].Stored
			n++
		}
		step := x.copy
		if list[0].Recode {
			step, n = x.recode, min(n, readAhead)
		}
		if err := step(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
		x.done += size
		x.c.o.Progress(stage, x.done, x.total)
	}
	return x.finish(ctx)
}

// copy copies chunks as they are encoded.
func (x *copier) copy(ctx context.Context, list []catalog.Copy) error {
	t := &manifest.Table{}
	packs := make(map[int]uint32)
	t.Rows = make([]manifest.Chunk, 0, len(list)) // rows are pointed to
	rows := make([]*manifest.Chunk, len(list))
	entries := make([]index.Entry, len(list))
	for i := range list {
		d, err := x.dirs.get(ctx, list[i].Pack)
		if err != nil {
			if err := x.fail(ctx, list[i].ID, list[i].Pack, err); err != nil {
				return err
			}
			continue
		}
		at, ok := d.find(list[i].ID, list[i].Depth)
		if !ok {
			return fmt.Errorf("%w: %s does not hold what the index says", ErrDamaged, packKey(x.c.cat.Packs[list[i].Pack].ID))
		}
		entries[i] = d.entries[at]
		t.Rows = append(t.Rows, x.row(t, packs, list[i].Pack, d, at))
		rows[i] = &t.Rows[len(t.Rows)-1]
	}
	b := &batch{f: x.fetcher, t: t, payloads: make(map[*manifest.Chunk][]byte)}
	defer b.free()
	if err := x.load(ctx, b, rows); err != nil {
		return err
	}
	for i := range list {
		if rows[i] == nil {
			continue
		}
		if list[i].Delta && x.failed[list[i].Base] != nil {
			x.failed[list[i].ID] = x.failed[list[i].Base]
			continue
		}
		payload, ok := b.payloads[rows[i]]
		if !ok {
			// Alone, so that it is known why.
			one := &batch{f: x.fetcher, t: t, payloads: b.payloads}
			if err := one.load(ctx, []*manifest.Chunk{rows[i]}); err != nil {
				if err := x.fail(ctx, list[i].ID, list[i].Pack, err); err != nil {
					return err
				}
				continue
			}
			payload = b.payloads[rows[i]]
		}
		if err := x.add(ctx, entries[i], payload); err != nil {
			return err
		}
	}
	return nil
}

// load reads payloads, from several packs at once.
func (x *copier) load(ctx context.Context, b *batch, rows []*manifest.Chunk) error {
	byPack := make(map[uint32][]*manifest.Chunk)
	for _, row := range rows {
		if row != nil {
			plain := row
			byPack[row.Pack] = append(byPack[row.Pack], plain)
		}
	}
	numbers := make([]uint32, 0, len(byPack))
	for n := range byPack {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	parts := make([]*batch, len(numbers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(x.c.r.opts.Concurrency)
	for i, n := range numbers {
		parts[i] = &batch{f: x.fetcher, t: b.t, payloads: make(map[*manifest.Chunk][]byte)}
		g.Go(func() error {
			_ = parts[i].load(gctx, byPack[n]) // what is missing is read again, alone
			return gctx.Err()
		})
	}
	err := g.Wait()
	for _, p := range parts {
		for row, payload := range p.payloads {
			b.payloads[row] = payload
		}
		x.c.report.BytesRead += p.read
	}
	return err
}

// row makes the row of one chunk, without its base.
func (x *copier) row(t *manifest.Table, packs map[int]uint32, n int, d *directory, at int) manifest.Chunk {
	number, known := packs[n]
	if !known {
		number = uint32(len(t.Packs))
		packs[n] = number
		t.Packs = append(t.Packs, manifest.PackRef{ID: x.c.cat.Packs[n].ID})
	}
	loc := d.locations[at]
	return manifest.Chunk{
		ID: d.entries[at].ID, Raw: loc.Raw, Pack: number, Offset: loc.Offset, Stored: loc.Stored,
		Ordinal: loc.Ordinal, Encoding: loc.Encoding, Flags: loc.Flags, Depth: loc.Depth,
	}
}

// fail takes note that a chunk cannot be copied. What is not about the chunk, but about
// the storage this time, is an error; and so is a pack that is gone.
func (x *copier) fail(ctx context.Context, id catalog.Key, n int, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isNotExist(err):
		return errAgain
	case !isUnusable(err):
		return err
	}
	x.failed[id] = err
	x.c.keep("%s: a chunk that is needed cannot be read: %v", packKey(x.c.cat.Packs[n].ID), err)
	return nil
}

// add puts a chunk into the pack that is being filled.
func (x *copier) add(ctx context.Context, entry index.Entry, payload []byte) error {
	if x.builder != nil && x.builder.Size()+len(payload)+seal.Overhead+index.EntrySize(&entry) > x.target() {
		if err := x.flush(ctx); err != nil {
			return err
		}
	}
	if x.builder == nil {
		var err error
		if x.builder, err = pack.NewBuilder(x.c.r.keys, nil); err != nil {
			return err
		}
	}
	entry.Stored = 0
	x.chunks++
	x.bytes += int64(len(payload))
	_, err := x.builder.Add(entry, payload, pack.Sum(payload))
	return err
}

// target is how large packs of copies become. There is more of them where there is more
// to copy, as with streams.
func (x *copier) target() int {
	l := x.c.r.opts.Limits
	t := l.PackMin
	for t < l.PackMax && int64(16*t) < x.total {
		t *= 2
	}
	return min(t, l.PackMax)
}

// flush stores the pack that is being filled.
func (x *copier) flush(ctx context.Context) error {
	if x.builder == nil {
		return nil
	}
	dir, object := x.builder.Finish()
	x.builder = nil
	put := func() error { return x.c.r.st.Put(ctx, packKey(dir.ID), object) }
	if x.c.r.broken.collectRescueLate {
		x.c.late = append(x.c.late, put)
	} else if err := put(); err != nil {
		return fmt.Errorf("store pack: %w", err)
	}
	x.written = append(x.written, dir)
	if x.entries += len(dir.Entries); x.entries >= x.c.r.opts.Limits.FragmentEntries {
		return x.publish(ctx)
	}
	return nil
}

// publish names the packs that are durable by now. Bases were copied before what needs
// them, so their packs are named by this fragment or an earlier one.
func (x *copier) publish(ctx context.Context) error {
	if len(x.written) == 0 {
		return nil
	}
	written := x.written
	put := func() error {
		_, err := x.c.r.putFragment(ctx, written)
		return err
	}
	if x.c.r.broken.collectRescueLate {
		x.c.late = append(x.c.late, put)
	} else if err := put(); err != nil {
		return fmt.Errorf("store index fragment: %w", err)
	}
	x.named = append(x.named, x.written...)
	x.written, x.entries = nil, 0
	return nil
}

func (x *copier) finish(ctx context.Context) error {
	if err := x.flush(ctx); err != nil {
		return err
	}
	if err := x.publish(ctx); err != nil {
		return err
	}
	for i := range x.named {
		p := &x.c.cat.Packs[x.c.cat.AddDirectory(&x.named[i])]
		p.First, p.Last, p.Named, p.ModTime, p.Used = true, true, 1, x.c.now, p.Stored
	}
	x.c.cat.Sort()
	x.c.cat.Decide()
	return nil
}
