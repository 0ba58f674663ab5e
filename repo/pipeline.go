package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

const (
	// blocksInFlight bounds the blocks that a stream is read into; there is one more for
	// each core.
	blocksInFlight = 3
	// chunksInFlight bounds the chunks between the cutter and the packer.
	chunksInFlight = 32
)

// job is one chunk on its way from the cutter through a worker to the packer.
type job struct {
	chunking.Chunk
	raw   uint32
	start int64         // offset in the stream
	done  chan struct{} // has a token when a worker is through with it
	known bool          // place says where the chunk is stored
	place place
	own   *encoded // else: what to store; shared by equal chunks
}

// encoded is a new chunk's payload. ready is closed when the rest is valid.
type encoded struct {
	ready    chan struct{}
	payload  []byte
	sum      uint32
	encoding index.Encoding
	base     *place    // of a delta
	features [3]uint64 // if featured
	featured bool
	err      error
}

// pipeline is the parallel part of a write:
//
//	cutter (1) ──► workers (n): name, look up, compress, check ──► packer (1, in order) ──► uploads
//
// The cutter also sends every job to the packer's queue, so the packer sees the
// stream's order whatever the workers' is.
type pipeline struct {
	w       *writer
	ctx     context.Context //nolint:containedctx // lives as long as Write
	finder  *finder
	similar *similar
	out     *packer
	jobs    sync.Pool
	pending sync.Map // digest.ID → *encoded: being encoded, not packed yet
	mu      sync.Mutex
}

func (w *writer) pipeline(src io.Reader) (*manifest.Manifest, error) {
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	prev := w.openPrevious(ctx)
	f, err := w.r.newFinder(ctx, prev, w.packs)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if f.gc.tombstones[w.name.root()] {
		return nil, ErrDeleted // before the work, though only the last look decides
	}
	p := &pipeline{w: w, ctx: ctx, finder: f, similar: newSimilar(ctx, w, f)}
	p.out = newPacker(ctx, cancel, w, f)

	n := w.r.opts.Concurrency
	work := make(chan *job, chunksInFlight)
	order := make(chan *job, chunksInFlight)
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() { p.worker(work) })
	}
	defer p.similar.fetcher.close()
	defer workers.Wait() // before the finder goes: they use it
	go func() {
		err := p.cut(src, prev, work, order)
		if err != nil {
			cancel(err)
		}
		close(work)
		close(order)
	}()
	m, err := p.pack(order)
	p.similar.count(&w.stats)
	if err != nil {
		cancel(err) // stops all but a cutter that waits for the source; that ends with the process
		p.out.abort()
		if errors.Is(err, context.Canceled) { // an upload that was stopped may be heard before what stopped it
			err = context.Cause(ctx)
		}
	}
	return m, err
}

// openPrevious returns the manifest of a stream that this one probably repeats.
func (w *writer) openPrevious(ctx context.Context) *previous {
	for _, name := range w.o.Previous {
		m, err := w.r.readManifest(ctx, name.Key())
		if err == nil {
			w.r.log.Debug("previous backup of the stream", "name", name.String())
			return w.r.newPrevious(ctx, m)
		}
		if !isNotExist(err) {
			w.r.log.Warn("previous backup of the stream cannot be used", "name", name.String(), "error", err)
		}
	}
	return nil
}

func (p *pipeline) cut(src io.Reader, prev *previous, work, order chan<- *job) error {
	pool := chunking.NewPool(p.ctx, blocksInFlight+p.w.r.opts.Concurrency, int(p.w.r.config.Chunks.Max))
	var predictor chunking.Predictor
	if prev != nil {
		predictor = prev
	}
	cutter := chunking.NewCutter(src, p.w.r.cuts(), pool, predictor, p.w.r.keys.Namer())
	cutter.BreakAt(p.w.o.Breaks)
	// While a chunk waits for a worker, what is left of the processors is the workers'.
	cutter.Help(p.w.r.opts.Concurrency-1, func() bool { return len(work) == 0 })
	defer cutter.Close()
	var total int64
	var chunks, predicted int
	for {
		chunk, err := cutter.Next()
		if err == io.EOF { //nolint:errorlint // an error of the source may wrap io.EOF, and is no end
			p.w.r.log.Debug("stream is cut", "chunks", chunks, "predicted", predicted)
			return nil
		}
		if err != nil {
			return err
		}
		j := p.newJob()
		j.Chunk, j.raw, j.start = chunk, uint32(len(chunk.Data)), total
		total += int64(len(chunk.Data))
		chunks++
		if chunk.Named {
			predicted++
		}
		if p.w.o.Progress != nil {
			p.w.o.Progress(total)
		}
		for _, ch := range [2]chan<- *job{order, work} {
			select {
			case ch <- j:
			case <-p.ctx.Done():
				return context.Cause(p.ctx)
			}
		}
	}
}

// newJob returns a job that the packer is through with, or a new one.
func (p *pipeline) newJob() *job {
	if j, ok := p.jobs.Get().(*job); ok {
		return j
	}
	return &job{done: make(chan struct{}, 1)}
}

func (p *pipeline) worker(work <-chan *job) {
	d := &deltaWorker{namer: p.w.r.keys.Namer()}
	for {
		select {
		case j, more := <-work:
			if !more {
				return
			}
			p.process(j, d)
			j.Release()
			j.done <- struct{}{}
		case <-p.ctx.Done():
			return
		}
	}
}

// process names a chunk and finds out what is to be done with it.
func (p *pipeline) process(j *job, d *deltaWorker) {
	if !j.Named {
		j.ID = d.namer.Sum(j.Data)
	}
	if j.place, j.known = p.finder.find(j.ID, j.start); j.known {
		if j.place.raw == j.raw {
			return
		}
		j.known = false // two contents cannot share a name: the entry is wrong
	}
	// Of equal chunks in flight one is encoded; the packer stores the first.
	p.mu.Lock()
	if j.place, j.known = p.out.own.get(j.ID); j.known {
		p.mu.Unlock()
		return
	}
	e := &encoded{ready: make(chan struct{})}
	if other, loaded := p.pending.LoadOrStore(j.ID, e); loaded {
		j.own = other.(*encoded)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	j.own = e
	defer close(e.ready)
	if e.err = p.similar.encode(d, e, j.Data, j.start, j.Position); e.err != nil || e.base != nil {
		e.encoding = index.Delta
		return
	}
	r := p.w.r
	e.payload, e.encoding, e.sum, e.err = r.encodeChunk(r.buffers.get(len(j.Data)), j.Data)
}

// pack takes the jobs in the stream's order and returns the stream's manifest.
func (p *pipeline) pack(order <-chan *job) (*manifest.Manifest, error) {
	timer := time.NewTimer(p.w.r.opts.Limits.CheckpointTime)
	defer timer.Stop()
	for {
		select {
		case j, more := <-order:
			if !more {
				if err := context.Cause(p.ctx); err != nil {
					return nil, err // the stream broke off: this was not its end
				}
				return p.out.finish()
			}
			first := p.out.uncovered == 0
			if err := p.packJob(j); err != nil {
				return nil, err
			}
			*j = job{done: j.done}
			p.jobs.Put(j)
			if first {
				timer.Reset(p.w.r.opts.Limits.CheckpointTime)
			}
			if p.out.uncovered < p.w.r.opts.Limits.CheckpointBytes {
				continue
			}
		case <-timer.C: // also while the source is silent
		case <-p.ctx.Done():
			return nil, context.Cause(p.ctx)
		}
		if p.out.uncovered == 0 {
			continue
		}
		if err := p.out.checkpoint(); err != nil {
			return nil, fmt.Errorf("write checkpoint: %w", err)
		}
	}
}

func (p *pipeline) packJob(j *job) error {
	select {
	case <-j.done:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	if !j.known {
		// An equal chunk may have been packed since the worker looked. It is
		// remembered far longer than any chunk is in flight.
		j.place, j.known = p.out.own.get(j.ID)
	}
	if j.known {
		return p.out.addRow(j.place)
	}
	select {
	case <-j.own.ready:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	if j.own.err != nil {
		return j.own.err
	}
	entry := index.Entry{ID: j.ID, Raw: j.raw, Encoding: j.own.encoding}
	if j.own.base != nil {
		entry.Base, entry.Depth = j.own.base.id, j.own.base.depth+1
	}
	if j.own.featured {
		entry.Flags, entry.Features = index.FlagFeatures, j.own.features
	}
	place, err := p.out.addChunk(entry, j.own.payload, j.own.sum)
	if err != nil {
		return err
	}
	place.base = j.own.base
	p.mu.Lock()
	p.out.own.put(place)
	p.pending.Delete(j.ID)
	p.mu.Unlock()
	p.w.r.buffers.put(j.own.payload)
	j.own.payload = nil
	return p.out.addRow(place)
}
