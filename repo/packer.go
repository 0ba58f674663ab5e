package repo

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// uploadWindow bounds the bytes of packs that are being stored while the next is
// filled: several small ones, or one large one.
const uploadWindow = 24 << 20

// packer is the last stage of a write: it fills packs with new chunks in the
// stream's order, stores them, names them in index fragments, and keeps the
// stream's list. One goroutine calls it.
type packer struct {
	w      *writer
	ctx    context.Context         //nolint:containedctx // lives as long as Write
	fail   context.CancelCauseFunc // ends it
	finder *finder
	list   *rowList
	own    recentPlaces // chunks that this stream stored; guarded by pipeline.mu

	builder *pack.Builder
	slot    int   // of the pack that builder fills
	putSum  int64 // bytes of packs finished so far

	uploads   sync.WaitGroup
	limit     *semaphore.Weighted
	mu        sync.Mutex
	failed    error    // of an upload
	memory    [][]byte // of packs that are stored
	durable   []index.Pack
	entries   int // of durable and of packs on their way
	fragments int
	finished  int // packs

	uncovered   int64 // stream bytes in rows that no checkpoint covers
	checkpoints int
	attempt     string
}

func newPacker(ctx context.Context, fail context.CancelCauseFunc, w *writer, f *finder) *packer {
	return &packer{
		w: w, ctx: ctx, fail: fail, finder: f, list: newRowList(w), limit: semaphore.NewWeighted(uploadWindow),
		own: recentPlaces{generation: recentGeneration}, attempt: newID().String()[:16],
	}
}

// maxWaitingLeaves is how many leaf lists' rows wait for the pack that is being
// filled to be finished.
const maxWaitingLeaves = 64

// addRow appends a chunk that is stored, or on its way, to the stream's list.
func (p *packer) addRow(at place) error {
	p.uncovered += int64(at.raw)
	if p.list.add(at) {
		// A pack that hardly anything new goes into may take the whole stream to
		// fill; the list must not wait in memory that long.
		return p.list.encodeLeaves(p, len(p.list.rows) > maxWaitingLeaves*p.w.r.opts.Limits.LeafMean)
	}
	return nil
}

// target is how large the next pack should become: the more the stream has
// stored, the larger, so that small streams stay cheap and large ones make few
// objects.
func (p *packer) target() int {
	l := p.w.r.opts.Limits
	t := l.PackMin
	for limit := int64(16 * t); p.putSum >= limit && t < l.PackMax; limit *= 16 {
		t *= 2
	}
	return min(t, l.PackMax)
}

// addChunk seals a payload into the current pack.
func (p *packer) addChunk(entry index.Entry, payload []byte, sum uint32) (place, error) {
	// A pack ends before it would exceed its target, which is a power of two and
	// so needs next to no padding.
	if p.builder != nil && p.builder.Size()+len(payload)+seal.Overhead+index.EntrySize(&entry) > p.target() {
		if err := p.flush(); err != nil {
			return place{}, err
		}
	}
	if p.builder == nil {
		b, err := pack.NewBuilder(p.w.r.keys, p.takeMemory())
		if err != nil {
			return place{}, err
		}
		p.builder, p.slot = b, p.w.packs.reserve(b.Header())
	}
	loc, err := p.builder.Add(entry, payload, sum)
	if err != nil {
		return place{}, err
	}
	if entry.Flags&index.FlagLeaf == 0 {
		p.w.stats.NewChunks++
		p.w.stats.NewRaw += uint64(entry.Raw)
	} else {
		p.w.stats.MetaStored += uint64(loc.Stored)
	}
	return placeAt(entry.ID, p.slot, loc, nil), nil
}

// takeMemory returns a buffer for a pack, one of a stored pack if there is one.
func (p *packer) takeMemory() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	want := p.target() + 64<<10
	for len(p.memory) > 0 {
		m := p.memory[len(p.memory)-1]
		p.memory = p.memory[:len(p.memory)-1]
		if cap(m) >= want {
			return m
		}
	}
	return make([]byte, 0, want)
}

// flush finishes the current pack and begins to store it.
func (p *packer) flush() error {
	if p.builder == nil {
		return nil
	}
	dir, object := p.builder.Finish()
	p.builder = nil
	p.w.packs.name(p.slot, dir.ID)
	p.putSum += int64(len(object))
	p.w.stats.NewStored += uint64(len(object))
	p.finished++
	weight := min(int64(len(object)), uploadWindow)
	if err := p.limit.Acquire(p.ctx, weight); err != nil {
		return context.Cause(p.ctx)
	}
	p.uploads.Go(func() {
		err := p.w.r.st.Put(p.ctx, packKey(dir.ID), object)
		defer p.limit.Release(weight)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.failed = err
			p.fail(fmt.Errorf("store pack: %w", err)) // the source may be silent for long
			return
		}
		p.memory = append(p.memory, object)
		p.durable = append(p.durable, dir)
	})
	p.entries += len(dir.Entries)
	if p.entries >= p.fragmentSize() {
		return p.publishFragment()
	}
	return p.uploadError()
}

// fragmentSize is how many entries the next index fragment gets at most. The first
// are small, so that what a stream stored before it was killed is mostly found again;
// later ones grow, so that a long stream makes few.
func (p *packer) fragmentSize() int {
	limit := p.w.r.opts.Limits.FragmentEntries
	return max(1, min(limit, limit>>4<<min(p.fragments, 4)))
}

func (p *packer) uploadError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return fmt.Errorf("store pack: %w", p.failed)
	}
	return nil
}

// publishFragment names all packs so far in an index fragment. They must be
// durable first: a fragment's reader takes its packs for granted.
func (p *packer) publishFragment() error {
	p.uploads.Wait()
	if err := p.uploadError(); err != nil {
		return err
	}
	if len(p.durable) == 0 {
		return nil
	}
	n, err := p.w.r.putFragment(p.ctx, p.durable)
	if err != nil {
		return err
	}
	p.w.stats.NewStored += uint64(n)
	p.durable, p.entries = nil, 0
	p.fragments++
	return nil
}

// putFragment stores an index fragment and returns its size in bytes.
func (r *Repo) putFragment(ctx context.Context, packs []index.Pack) (int, error) {
	object, err := r.keys.SealDocument(seal.Fragment, "", index.AppendFragment(nil, packs), nil)
	if err != nil {
		return 0, err
	}
	id := digest.Sum(object)
	if _, err := r.openFragment(id, object); err != nil {
		return 0, fmt.Errorf("seal index fragment: what was sealed does not open: %w", err)
	}
	return len(object), r.st.Put(ctx, fragmentKey(id), object)
}

// settle makes everything stored so far durable and findable.
func (p *packer) settle(fragment bool) error {
	if err := p.flush(); err != nil {
		return err
	}
	if fragment {
		return p.publishFragment()
	}
	p.uploads.Wait()
	return p.uploadError()
}

// finish ends the stream and returns its manifest, which needs nothing that is
// not durable.
func (p *packer) finish() (*manifest.Manifest, error) {
	if m := p.inlined(); m != nil {
		return m, nil
	}
	if err := p.list.encodeLeaves(p, true); err != nil {
		return nil, err
	}
	if err := p.flush(); err != nil {
		return nil, err
	}
	// A stream of one small pack needs no fragment: its next backup finds the
	// chunks through this manifest, and prune folds the pack into the index.
	small := p.finished == 1 && p.fragments == 0 && p.putSum <= int64(p.w.r.opts.Limits.SmallPack)
	if small {
		p.w.nameOwn = func() error { // when the packer's context has ended
			_, err := p.w.r.putFragment(p.w.ctx, p.durable)
			return err
		}
	}
	if p.w.r.broken.writeManifestFirst {
		p.w.late = func() error { return p.settle(!small) }
	} else if err := p.settle(!small); err != nil {
		return nil, err
	}
	p.w.stats.Chunks = p.list.total
	return p.list.manifest(), nil
}

// inlined returns the manifest of a stream that turned out to be one short
// payload, repeated perhaps; nil if it is anything else.
func (p *packer) inlined() *manifest.Manifest {
	if p.finished > 0 || p.builder == nil || p.builder.Payload() > p.w.r.opts.Limits.Inline || p.checkpoints > 0 ||
		len(p.list.leaves) > 0 || len(p.list.rows) > p.w.r.opts.Limits.DirectRows {
		return nil
	}
	for i := range p.list.rows {
		if p.list.rows[i].slot != p.slot || p.list.rows[i].base != nil {
			return nil
		}
	}
	m := p.list.manifest()
	inline, err := p.builder.Inline(m.Table.Rows)
	if err != nil {
		return nil // the pack is as good
	}
	m.Inline, m.Table.Packs = inline, nil
	p.builder = nil
	p.w.stats.Chunks = p.list.total
	return m
}

// checkpoint roots what the stream has so far, so that a collector spares it.
func (p *packer) checkpoint() error {
	// All rows that can be in leaf lists: a manifest cannot hold 64 GiB's.
	if err := p.list.encodeLeaves(p, true); err != nil {
		return err
	}
	if err := p.settle(true); err != nil {
		return err
	}
	m := p.list.manifest()
	// What is around the stream is only known at its end.
	m.Kind, m.Origin, m.Stats = manifest.Checkpoint, p.w.o.Origin, p.w.stats
	key := checkpointKey(p.w.key, p.attempt, p.checkpoints)
	object, err := p.w.r.sealManifest(key, m)
	if err != nil {
		return err
	}
	// The order is the final manifest's: packs, fragments, then what roots them.
	if err := p.w.r.st.Put(p.ctx, key, object); err != nil {
		return err
	}
	p.checkpoints++
	p.uncovered = 0
	return p.w.look(m)
}

// abort waits for what is on its way, after the context has ended.
func (p *packer) abort() { p.uploads.Wait() }

// recentPlaces remembers the chunks that a stream stored most recently: at least
// generation of them, at most twice as many.
type recentPlaces struct {
	generation  int
	young, aged map[digest.ID]place
}

// recentGeneration is far above what is in flight, and small in memory.
const recentGeneration = 32 << 10

func (r *recentPlaces) get(id digest.ID) (place, bool) {
	if p, ok := r.young[id]; ok {
		return p, true
	}
	p, ok := r.aged[id]
	return p, ok
}

func (r *recentPlaces) put(p place) {
	if len(r.young) >= r.generation {
		r.aged, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[digest.ID]place)
	}
	r.young[p.id] = p
}
