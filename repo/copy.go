package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// CopyOptions say what to copy.
type CopyOptions struct {
	Namespaces []string // empty: all
	// Timestamps choose backups of gpbackup, and nothing else is copied then; empty:
	// everything is.
	Timestamps []string
	// DryRun finds out what would be copied, and writes nothing.
	DryRun bool
	// Progress is told, one call at a time, how many bytes of content of how many were
	// dealt with.
	Progress func(done, total int64)
}

// CopyReport is what Copy did, or would do.
type CopyReport struct {
	From         string        `json:"from"` // repository ids
	To           string        `json:"to"`
	SharedChunks bool          `json:"shared_chunks"` // chunks were copied as they are; else streams were cut anew
	DryRun       bool          `json:"dry_run"`
	Streams      int           `json:"streams"`         // copied
	Already      int           `json:"already_there"`   // were there, with the same content
	Bytes        uint64        `json:"bytes"`           // content of the streams copied
	Chunks       uint64        `json:"chunks"`          // of these
	NewChunks    uint64        `json:"new_chunks"`      // of these, what the repository did not hold
	NewBytes     uint64        `json:"new_bytes"`       // content of the new chunks
	StoredBytes  uint64        `json:"stored_bytes"`    // written, metadata included
	WALFiles     int           `json:"wal_files"`       // copied
	WALAlready   int           `json:"wal_files_there"` // were there, the same
	WALBytes     uint64        `json:"wal_bytes"`       // written for WAL files
	Deleted      []string      `json:"deleted"`         // roots that are deleted in the source, so not copied
	Problems     []CopyProblem `json:"problems"`
}

// CopyProblem is something that was not copied, and why.
type CopyProblem struct {
	Object  string `json:"object"` // class, namespace and name of a stream or root; or a key
	Problem string `json:"problem"`
	err     error
}

// CopyError says that some of what was to be copied was not, though all else was. For
// errors.Is it is every error that kept something back.
type CopyError struct{ Problems []CopyProblem }

func (e *CopyError) Error() string {
	first := e.Problems[0].Object + ": " + e.Problems[0].Problem
	if n := len(e.Problems); n > 1 {
		return fmt.Sprintf("%d objects were not copied, the first: %s", n, first)
	}
	return "not copied: " + first
}

// Unwrap returns the causes.
func (e *CopyError) Unwrap() []error {
	causes := make([]error, len(e.Problems))
	for i := range e.Problems {
		causes[i] = e.Problems[i].err
	}
	return causes
}

const (
	// copyStreams is how many streams are copied at once, as long as they are short.
	copyStreams = 8
	// copyContent bounds the content of the streams that are copied at once, in bytes,
	// unless it is a single one.
	copyContent = 32 << 20
	// copyKept bounds the manifests that are kept in memory from when their lengths
	// were asked for until they are copied: each, and all, in bytes as they are stored.
	copyKeptEach, copyKept = 32 << 10, 32 << 20
	// copyRefresh is after how many new chunks the index cache of the target is
	// brought up to date: what it does not cover is stored twice.
	copyRefresh = 64 << 10
)

// Copy copies streams from one repository to another, which keeps them under its own
// keys. Only what the target does not hold travels, every chunk's name is checked, and
// each stream is stored as [Repo.Write] stores one: what Copy reports as copied is
// durable, and out of a collector's reach. A copy that broke off goes on where it was
// when it is started again.
//
// Where both repositories share chunk names (InitOptions.ChunkerFrom), chunks are
// copied as they are encoded, a delta's base before the delta. Else each stream is read
// from the one and stored in the other like any stream.
//
// What cannot be copied (damage, a conflict, a root that is deleted in the target) does
// not keep the rest from being copied: then the error is a *CopyError. Any other error
// ended the copy. The report is never nil.
func Copy(ctx context.Context, from, to *Repo, o CopyOptions) (*CopyReport, error) {
	c := &transfer{
		from: from, to: to, o: o, shared: from.keys.SharesNames(to.keys) && from.config.Chunks == to.config.Chunks,
		window: semaphore.NewWeighted(copyContent), there: make(map[Name]bool), series: make(map[string][]Name),
		source: from.newFetcher(), seen: make(map[digest.ID]bool),
	}
	c.report = CopyReport{
		From: from.config.IDHex, To: to.config.IDHex, SharedChunks: c.shared, DryRun: o.DryRun,
		Deleted: []string{}, Problems: []CopyProblem{},
	}
	defer c.source.close()
	err := c.run(ctx)
	slices.SortFunc(c.report.Problems, func(a, b CopyProblem) int { return strings.Compare(a.Object, b.Object) })
	switch {
	case err != nil:
		err = fmt.Errorf("copy repository: %w", err)
	case len(c.report.Problems) > 0:
		err = &CopyError{c.report.Problems}
	}
	return &c.report, err
}

// transfer is one run of Copy.
type transfer struct {
	from, to *Repo
	o        CopyOptions
	shared   bool
	window   *semaphore.Weighted // content of the streams that are being copied
	source   *fetcher

	there map[Name]bool // stored in the target when it was listed

	mu        sync.Mutex // guards what follows
	report    CopyReport
	series    map[string][]Name // the streams of the target that repeat one another, ascending
	unsettled uint64            // new chunks since the target's index cache was brought up to date
	done      int64
	total     int64
	seen      map[digest.ID]bool // by a dry run
}

func (c *transfer) run(ctx context.Context) error {
	if c.from.config.ID == c.to.config.ID {
		return fmt.Errorf("%w: %s and %s are the same repository, or one is a plain copy of the other",
			ErrUsage, c.from.st.Location(), c.to.st.Location())
	}
	roots, err := c.plan(ctx)
	if err != nil {
		return err
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	// The oldest first, so that the bases of deltas come before these, and each stream
	// finds the one that it probably repeats.
	for _, root := range roots {
		if err := c.copyRoot(ctx, root); err != nil {
			return err
		}
	}
	if len(c.o.Timestamps) > 0 {
		return nil
	}
	return c.copyWAL(ctx)
}

// refresh brings the target's index cache on this host up to date.
func (c *transfer) refresh(ctx context.Context) error {
	if !c.shared && c.unsettled == 0 || c.o.DryRun {
		return ctx.Err()
	}
	c.unsettled = 0
	if _, err := c.to.RefreshIndex(ctx); err != nil && !errors.Is(err, index.ErrNoCache) {
		if ctx.Err() != nil {
			return err
		}
		c.to.log.Warn("index cache of the target is not brought up to date", "error", err)
	}
	return nil
}

// copyRoot copies the streams of a root, several at once.
func (c *transfer) copyRoot(ctx context.Context, root *copyRoot) error {
	// It may have been deleted since it was listed, and a reader asks before it reads.
	if deleted, err := c.from.Deleted(ctx, root.name); err != nil {
		return err
	} else if deleted {
		c.skip(root)
		return nil
	}
	c.from.log.Info("copying", "root", root.name.root(), "streams", len(root.items))
	l := &lookList{}
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(copyStreams)
	for i := range root.items {
		item := &root.items[i]
		if groupCtx.Err() != nil {
			break
		}
		g.Go(func() error { return c.keepBack(groupCtx, item.name, c.copyItem(groupCtx, item, l)) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := c.lookAtAll(ctx, l); err != nil {
		return err
	}
	for i := range root.items {
		c.repeats(root.items[i].name)
	}
	if c.unsettled >= copyRefresh {
		return c.refresh(ctx)
	}
	return nil
}

// keepBack notes what concerns one stream alone, and returns what ends the copy.
func (c *transfer) keepBack(ctx context.Context, name Name, err error) error {
	concerns := errors.Is(err, ErrConflict) || errors.Is(err, ErrDeleted) || errors.Is(err, ErrNoStream) || isUnusable(err)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if !concerns {
		return fmt.Errorf("%s: %w", describe(name), err)
	}
	c.problem(describe(name), err)
	return nil
}

func (c *transfer) problem(object string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Problems = append(c.report.Problems, CopyProblem{object, err.Error(), err})
}

// copyItem copies one stream, or finds that it is there.
func (c *transfer) copyItem(ctx context.Context, item *copyItem, l *lookList) error {
	m := item.manifest
	item.manifest = nil
	if m == nil {
		var err error
		if m, err = c.from.readManifest(ctx, item.name.Key()); err != nil {
			if isNotExist(err) {
				return fmt.Errorf("%w: its manifest went away", ErrNoStream)
			}
			return fmt.Errorf("read from %s: %w", c.from.st.Location(), err)
		}
	}
	if item.there {
		if same, err := c.compare(ctx, item.name, m, l); err != nil || same {
			return err
		}
	}
	weight := int64(min(max(m.Length, 1), copyContent))
	if err := c.window.Acquire(ctx, weight); err != nil {
		return err
	}
	defer c.window.Release(weight)
	if c.o.DryRun {
		return c.count(ctx, item.name, m)
	}
	store := c.cutAnew
	if c.shared {
		store = c.moveChunks
	}
	before := c.advancer()
	report, err := store(ctx, item.name, m, before)
	if err != nil {
		return err
	}
	before(int64(m.Length))
	c.stored(m, report)
	return nil
}

// stored adds a stream to the report.
func (c *transfer) stored(m *manifest.Manifest, w WriteReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.AlreadyStored {
		c.report.Already++
		return
	}
	c.report.Streams++
	c.report.Bytes += m.Length
	c.report.Chunks += w.Stats.Chunks
	c.report.NewChunks += w.Stats.NewChunks
	c.report.NewBytes += w.Stats.NewRaw
	c.report.StoredBytes += w.Stats.NewStored + uint64(w.ManifestBytes)
	c.unsettled += w.Stats.NewChunks
}

// advancer returns what is told how many bytes of one stream were dealt with so far.
func (c *transfer) advancer() func(int64) {
	var last int64
	return func(n int64) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.done += n - last
		last = n
		if c.o.Progress != nil {
			c.o.Progress(c.done, max(c.total, c.done))
		}
	}
}

// cutAnew reads a stream and stores it as if it came from elsewhere.
func (c *transfer) cutAnew(ctx context.Context, name Name, m *manifest.Manifest, progress func(int64)) (WriteReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		// The last piece comes only when all was verified; an error is no end of file.
		err := c.from.RestoreManifest(ctx, m, w, RestoreOptions{Unwrapped: true})
		_ = w.CloseWithError(err) // never fails
		read <- err
	}()
	report, err := c.to.Write(ctx, name, r, WriteOptions{
		Origin: m.Origin, Source: c.sourceOf(m), Previous: c.previous(name), Progress: progress,
		Wrapping: func() (manifest.Wrapping, uint64) { return m.Wrapping, m.Tail },
	})
	_ = r.CloseWithError(errWriterGone) // never fails
	cancel()
	if cause := <-read; cause != nil && isUnusable(cause) {
		err = fmt.Errorf("read from %s: %w", c.from.st.Location(), cause)
	}
	return report, err
}

var errWriterGone = errors.New("nobody reads any more")

// sourceOf says, in a copy that is cut anew, of which stream it is one.
func (c *transfer) sourceOf(m *manifest.Manifest) *manifest.Source {
	return &manifest.Source{Repository: c.from.config.IDHex, Identity: m.Identity.String()}
}
