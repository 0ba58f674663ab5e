package repo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/wrap"
	"github.com/gpdedup/gpdedup/storage"
)

// Range is the half-open interval [Start, End) of a stream's content, in bytes.
type Range struct{ Start, End uint64 }

// RestoreOptions say what of a stream to restore.
type RestoreOptions struct {
	// Ranges, if not nil, are written one after another in this order instead of
	// the whole stream. Only the packs they touch are read.
	//
	// Ranges are of the content. Without them, what was around the content when the
	// stream came in is put around it again: other bytes perhaps, but they decompress
	// to the same.
	Ranges []Range
	// Unwrapped has the whole content written as it is.
	Unwrapped bool
	// Compress makes a wrapped stream small, for a file. Otherwise it is made quickly,
	// for a program that takes it apart at once.
	Compress bool
	// Deleted also restores a stream whose backup is deleted but not yet gone.
	Deleted bool
	// Progress is told, from one goroutine, how many bytes of content went out so far.
	Progress func(bytes int64)
}

// Stream returns the manifest of a stream, ErrNoStream or ErrDeleted.
func (r *Repo) Stream(ctx context.Context, name Name) (*manifest.Manifest, error) {
	return r.stream(ctx, name, false)
}

func (r *Repo) stream(ctx context.Context, name Name, deleted bool) (*manifest.Manifest, error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	m, err := r.readUndeleted(ctx, name, deleted)
	if err == nil || errors.Is(err, ErrDeleted) {
		return m, err
	}
	// Nothing there, or nothing that opens: or is it another repository by now?
	if stale := r.confirm(ctx); stale != nil && ctx.Err() == nil {
		return nil, stale
	}
	if errors.Is(err, storage.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w (namespace %s)", name, ErrNoStream, name.Namespace)
	}
	return nil, err
}

// readUndeleted asks for the tombstone beside the manifest, not before it: where
// every answer takes its time, that is half of the time until a restore begins.
func (r *Repo) readUndeleted(ctx context.Context, name Name, deleted bool) (*manifest.Manifest, error) {
	tombstone := make(chan error, 1)
	if deleted {
		tombstone <- nil
	} else {
		go func() {
			_, err := r.st.Stat(ctx, name.tombstoneKey())
			switch {
			case err == nil:
				err = fmt.Errorf("%s: %w", name, ErrDeleted)
			case errors.Is(err, storage.ErrNotExist):
				err = nil
			}
			tombstone <- err
		}()
	}
	m, err := r.readManifest(ctx, name.Key())
	if refused := <-tombstone; refused != nil {
		return nil, refused
	}
	return m, err
}

// Restore writes the stream to out. No byte goes out before the chunk it belongs
// to was verified, and the last chunk only after everything was; on damage it
// stops there and returns an error for which errors.Is(err, ErrDamaged).
func (r *Repo) Restore(ctx context.Context, name Name, out io.Writer, o RestoreOptions) error {
	m, err := r.stream(ctx, name, o.Deleted)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := r.RestoreManifest(ctx, m, out, o); err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	return nil
}

// RestoreManifest is Restore of a stream whose manifest is at hand.
func (r *Repo) RestoreManifest(ctx context.Context, m *manifest.Manifest, out io.Writer, o RestoreOptions) error {
	for _, x := range o.Ranges {
		if x.Start > x.End || x.End > m.Length {
			return fmt.Errorf("%w: range %d-%d of a stream of %d bytes", ErrUsage, x.Start, x.End, m.Length)
		}
	}
	if o.Ranges != nil || o.Unwrapped || m.Wrapping == manifest.Plain {
		return r.restoreContent(ctx, m, out, o)
	}
	around := wrap.NewWriter
	if o.Compress {
		around = wrap.NewCompressor
	}
	w := around(m.Wrapping, m.Length, m.Tail, out)
	if err := r.restoreContent(ctx, m, w, o); err != nil {
		return err // and w is not closed, so what went out has no valid end
	}
	if err := w.Close(); err != nil {
		return &OutputError{err}
	}
	return nil
}

func (r *Repo) restoreContent(ctx context.Context, m *manifest.Manifest, out io.Writer, o RestoreOptions) error {
	g, ctx := errgroup.WithContext(ctx)
	s := &restorer{
		r: r, m: m, f: r.newFetcher(), group: g,
		// A run is at most maxRun long, so the window always admits one.
		window: semaphore.NewWeighted(max(r.opts.Limits.ReadWindow, maxRun)),
		runs:   make(chan *run, 4*r.opts.Concurrency),
		decode: semaphore.NewWeighted(int64(r.opts.Concurrency)),
	}
	if o.Ranges == nil {
		s.f.ahead = newStretchReader(s.f) // all of it will be wanted
	}
	g.Go(func() error {
		plan := s.planAll
		if o.Ranges != nil {
			plan = func(ctx context.Context) error { return s.planRanges(ctx, o.Ranges) }
		}
		if err := plan(ctx); err != nil {
			return err
		}
		close(s.runs) // only a whole plan ends the stream; else the context does
		return nil
	})
	g.Go(func() error { return s.write(ctx, out, o.Progress) })
	defer s.f.close()
	return g.Wait()
}

// A restore is planned from the manifest alone. Pieces that lie near each other in
// one pack form a run, which is fetched with one request; runs are fetched and
// decoded in parallel within a window of bytes, and written in order.
type restorer struct {
	r      *Repo
	m      *manifest.Manifest
	f      *fetcher
	group  *errgroup.Group
	window *semaphore.Weighted // bytes of content planned and not yet written
	decode *semaphore.Weighted
	runs   chan *run
	open   *run // the run that the planner is extending
}

const (
	// maxRun bounds the content of a run in bytes, unless it is a single chunk.
	maxRun = 2 << 20
	// maxGap is how many bytes of a pack are read in vain rather than asked for
	// separately.
	maxGap = 128 << 10
	// maxSpan bounds the bytes of a pack that a run of several chunks reads: the
	// window counts content, and gaps take memory too.
	maxSpan = 2 * maxRun
)

// piece is a part of one chunk that is to go out.
type piece struct {
	row      int // of the table
	chunk    *manifest.Chunk
	from, to uint32
}

type run struct {
	table  *manifest.Table
	pieces []piece
	start  int64 // in the pack
	end    int64
	raw    int64 // bytes of content, the part of the window that it holds
	done   chan struct{}
	data   [][]byte // content of each piece's chunk
}

// flush begins to fetch the open run and queues it for writing.
func (s *restorer) flush(ctx context.Context) error {
	r := s.open
	if r == nil {
		return nil
	}
	s.open = nil
	r.raw = min(r.raw, max(s.r.opts.Limits.ReadWindow, maxRun))
	if err := s.window.Acquire(ctx, r.raw); err != nil {
		return err
	}
	select {
	case s.runs <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.group.Go(func() error {
		if err := s.fetch(ctx, r); err != nil {
			return err // and the run is never done, so nothing of it goes out
		}
		close(r.done)
		return nil
	})
	return nil
}

// fetch reads, opens, decodes and verifies the chunks of a run.
func (s *restorer) fetch(ctx context.Context, r *run) error {
	r.data = make([][]byte, len(r.pieces))
	namer := s.r.keys.Namer()
	first := r.pieces[0].chunk
	if first.Pack == manifest.InlinePack {
		for i, p := range r.pieces {
			payload := s.m.Inline[p.chunk.Offset : p.chunk.Offset+p.chunk.Stored]
			out, err := s.f.decode(nil, s.r.buffers.get(int(p.chunk.Raw)+compress.Slack), p.chunk, payload, nil, namer)
			if err != nil {
				return fmt.Errorf("inline chunk %s: %w", p.chunk.ID.Short(), err)
			}
			r.data[i] = out
		}
		return nil
	}
	if err := s.decode.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.decode.Release(1)
	table, chunks, err := s.chunks(ctx, r)
	if err != nil {
		return err
	}
	data, _, err := s.f.contents(ctx, table, chunks, namer)
	if isNotExist(err) && ctx.Err() == nil {
		// Packs were rewritten: where their chunks are now is found out for all at once.
		s.f.isStale()
		if table, chunks, err = s.chunks(ctx, r); err != nil {
			return err
		}
		for _, d := range data {
			s.r.buffers.put(d)
		}
		data, _, err = s.f.contents(ctx, table, chunks, namer)
	}
	if err != nil && (!isUnusable(err) && !errors.Is(err, errNotLoaded) || ctx.Err() != nil) {
		return err
	}
	for i, c := range chunks {
		if data[i] != nil {
			continue
		}
		// Some of the run was no good: such a chunk gets its own second reading, and
		// then a search for another copy.
		if data[i], err = s.f.chunk(ctx, s.r.buffers.get(int(c.Raw)+compress.Slack), table, c, namer); err != nil {
			return err
		}
	}
	r.data = data
	return nil
}

// chunks returns the rows of a run's pieces, with hints that are good for all that is known.
func (s *restorer) chunks(ctx context.Context, r *run) (*manifest.Table, []*manifest.Chunk, error) {
	t, err := s.f.rehint(ctx, r.table)
	if err != nil {
		return nil, nil, err
	}
	rows := make([]*manifest.Chunk, len(r.pieces))
	for i := range r.pieces {
		rows[i] = &t.Rows[r.pieces[i].row]
	}
	return t, rows, nil
}
