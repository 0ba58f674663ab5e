package repo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/delta"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// directory is what a pack holds, for whoever reads chunks from it.
type directory struct {
	entries   []index.Entry
	locations []index.Location
	at        map[catalog.Key]int
}

// maxDirectories bounds the directories that a copier keeps; each has some hundred
// entries.
const maxDirectories = 64

// copier copies chunks from packs to new packs, in the order of a plan.
type copier struct {
	c       *collector
	plan    *catalog.Plan
	fetcher *fetcher

	mu    sync.Mutex // guards dirs and order
	dirs  map[int]*directory
	order []int // of dirs, oldest first

	builder *pack.Builder
	written []index.Pack // stored, and not yet named by a fragment
	named   []index.Pack // and named
	entries int
	failed  map[catalog.Key]error // chunks that could not be copied
	done    int64
	total   int64

	chunks, recoded int
	bytes           int64
}

func (c *collector) newCopier(plan *catalog.Plan) *copier {
	return &copier{
		c: c, plan: plan, fetcher: c.r.newFetcher(), dirs: make(map[int]*directory),
		failed: make(map[catalog.Key]error), total: plan.Bytes(),
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
		d, err := x.directory(ctx, list[i].Pack)
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

// recoded is a chunk that was encoded anew.
type recoded struct {
	entry   index.Entry
	payload []byte
	err     error
}

// recode encodes chunks anew, several at once.
func (x *copier) recode(ctx context.Context, list []catalog.Copy) error {
	results := make([]recoded, len(list))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(x.c.r.opts.Concurrency)
	for i := range list {
		g.Go(func() error {
			results[i] = x.encode(gctx, &list[i])
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i := range list {
		k, done := &list[i], &results[i]
		if done.err != nil {
			if err := x.fail(ctx, k.ID, k.Pack, done.err); err != nil {
				return err
			}
			continue
		}
		x.recoded++
		if err := x.add(ctx, done.entry, done.payload); err != nil {
			return err
		}
	}
	return nil
}

// encode encodes one chunk anew: against the base that the plan says, or whole.
func (x *copier) encode(ctx context.Context, k *catalog.Copy) recoded {
	r := x.c.r
	entry, content, err := x.content(ctx, k.ID)
	if err != nil {
		return recoded{err: err}
	}
	defer r.buffers.put(content)
	payload, encoding := r.enc.Encode(nil, content)
	entry.Encoding, entry.Depth, entry.Base = encoding, 0, digest.ID{}
	if err := r.verifyPayload(payload, encoding, content); err != nil {
		return recoded{err: err}
	}
	if depth := x.plan.DepthOf(k.Base); k.Delta && depth < int(k.Depth) {
		base, baseContent, err := x.content(ctx, k.Base)
		if err != nil {
			return recoded{err: err}
		}
		defer r.buffers.put(baseContent)
		var encoder delta.Encoder
		if raw, ok := encoder.Encode(nil, baseContent, content, 3*len(payload)); ok {
			if smaller := r.enc.EncodeDelta(nil, raw); len(smaller) < len(payload) {
				if err := r.verifyDelta(smaller, baseContent, content, len(raw)); err != nil {
					return recoded{err: err}
				}
				payload = smaller
				entry.Encoding, entry.Depth, entry.Base = index.Delta, uint8(depth+1), base.ID
			}
		}
	}
	return recoded{entry: entry, payload: payload}
}

// content reads a chunk, with its bases.
func (x *copier) content(ctx context.Context, id catalog.Key) (index.Entry, []byte, error) {
	chain := x.c.cat.Chain(id)
	if chain == nil {
		return index.Entry{}, nil, fmt.Errorf("%w: a base is nowhere", ErrDamaged)
	}
	t := &manifest.Table{Bases: make([]manifest.Chunk, len(chain)-1)}
	packs := make(map[int]uint32)
	var entry index.Entry
	for i, s := range chain {
		d, err := x.directory(ctx, s.Pack)
		if err != nil {
			return index.Entry{}, nil, err
		}
		at, ok := d.find(s.ID, s.Depth)
		if !ok {
			return index.Entry{}, nil, fmt.Errorf("%w: %s does not hold what the index says", ErrDamaged, packKey(x.c.cat.Packs[s.Pack].ID))
		}
		row := x.row(t, packs, s.Pack, d, at)
		if s.Delta {
			row.Base = uint32(i + 1)
		}
		if i == 0 {
			entry = d.entries[at]
			t.Rows = []manifest.Chunk{row}
		} else {
			t.Bases[i-1] = row
		}
	}
	contents, read, err := x.fetcher.contents(ctx, t, []*manifest.Chunk{&t.Rows[0]}, x.c.r.keys.Namer())
	x.mu.Lock()
	x.c.report.BytesRead += read
	x.mu.Unlock()
	if err != nil {
		return index.Entry{}, nil, err
	}
	return entry, contents[0], nil
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

// directory reads what a pack holds.
func (x *copier) directory(ctx context.Context, n int) (*directory, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if d := x.dirs[n]; d != nil {
		return d, nil
	}
	d, err := x.c.readDirectory(ctx, n)
	if err != nil {
		return nil, err
	}
	if len(x.order) >= maxDirectories {
		delete(x.dirs, x.order[0])
		x.order = x.order[1:]
	}
	x.dirs[n], x.order = d, append(x.order, n)
	return d, nil
}

func (c *collector) readDirectory(ctx context.Context, n int) (*directory, error) {
	p := &c.cat.Packs[n]
	dir, err := c.r.readFooter(ctx, p.ID, p.Size)
	if err != nil && isUnusable(err) && !isNotExist(err) {
		dir, err = c.namedDirectory(ctx, n, err)
	}
	if err != nil {
		return nil, err
	}
	d := &directory{entries: dir.Entries, at: make(map[catalog.Key]int, len(dir.Entries))}
	dir.Locations(pack.FirstOffset, func(id digest.ID, loc index.Location) {
		d.at[catalog.KeyOf(id)] = len(d.locations)
		d.locations = append(d.locations, loc)
	})
	return d, nil
}

// namedDirectory takes what a pack holds from a fragment, because its footer cannot be read.
func (c *collector) namedDirectory(ctx context.Context, n int, cause error) (index.Pack, error) {
	for _, info := range c.listed {
		if !slices.Contains(c.fragments[fragmentKey(info.ID)].packs, n) {
			continue
		}
		packs, err := c.r.loadFragment(ctx, info.ID)
		if err != nil {
			continue // another may name it too
		}
		for i := range packs {
			if packs[i].ID == c.cat.Packs[n].ID {
				return packs[i], nil
			}
		}
	}
	return index.Pack{}, cause
}

// find returns which entry is the chunk's, with the given depth if it is there twice.
func (d *directory) find(id catalog.Key, depth uint8) (int, bool) {
	at, ok := d.at[id]
	if !ok || d.entries[at].Depth == depth {
		return at, ok
	}
	for i := range d.entries {
		if e := &d.entries[i]; e.Depth == depth && catalog.KeyOf(e.ID) == id {
			return i, true
		}
	}
	return 0, false
}

// locate finds chunks, and their bases, for the reader of a manifest whose hints are old.
func (c *collector) locate(ctx context.Context, want map[digest.ID]bool) (locations, error) {
	found := make(locations)
	dirs := make(map[int]*directory)
	for id := range want {
		for _, s := range c.cat.Chain(catalog.KeyOf(id)) {
			d := dirs[s.Pack]
			if d == nil {
				var err error
				if d, err = c.readDirectory(ctx, s.Pack); isUnusable(err) {
					continue
				} else if err != nil {
					return nil, err
				}
				dirs[s.Pack] = d
			}
			if at, ok := d.find(s.ID, s.Depth); ok {
				id := d.entries[at].ID
				found[id] = append(found[id], d.locations[at])
			}
		}
	}
	return found, nil
}
