package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// Problem is what is wrong with one stream.
type Problem struct {
	Timestamp string      `json:"timestamp"`
	Stream    string      `json:"stream,omitempty"` // empty: the backup as a whole
	Kind      ProblemKind `json:"kind"`
	Cause     string      `json:"cause"`
}

// ProblemKind says what sort of problem it is.
type ProblemKind string

// The kinds of problems.
const (
	DamagedStream ProblemKind = "damaged"
	MissingStream ProblemKind = "missing"
	BadStatus     ProblemKind = "status" // the backup is not complete
)

func (p Problem) String() string {
	what := p.Timestamp
	if p.Stream != "" {
		what += "/" + p.Stream
	}
	return what + ": " + p.Cause
}

// restores bounds how many streams are restored at once. Each of them reads and
// decodes in parallel by itself and keeps a window of 64 MiB.
const restores = 3

// reader reads many streams and goes on after damage, of which it keeps a list.
type reader struct {
	r         *repo.Repo
	namespace string
	progress  func(done, total int64) // may be nil

	mu          *sync.Mutex
	problems    []Problem
	told        map[repo.Name]bool // streams of which a problem is in the list
	done, total int64
}

func newReader(c *catalog, progress func(done, total int64)) reader {
	return reader{r: c.r, namespace: c.namespace, progress: progress, mu: &sync.Mutex{}, told: make(map[repo.Name]bool)}
}

func (x *reader) problem(timestamp, stream string, kind ProblemKind, cause string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if stream != "" {
		name := streamName(x.namespace, timestamp, stream)
		if x.told[name] {
			return
		}
		x.told[name] = true
	}
	x.problems = append(x.problems, Problem{timestamp, stream, kind, cause})
}

// sorted returns the problems by timestamp and stream.
func (x *reader) sorted() []Problem {
	slices.SortStableFunc(x.problems, func(a, b Problem) int {
		return strings.Compare(a.Timestamp+"/"+a.Stream, b.Timestamp+"/"+b.Stream)
	})
	return append([]Problem{}, x.problems...)
}

// completeness reports what the survey found.
func (x *reader) completeness(s *survey) {
	for _, name := range s.missing {
		x.problem(s.timestamp, name, MissingStream, "not in the repository")
	}
	if more := s.missingN - len(s.missing); more > 0 {
		x.problem(s.timestamp, "", MissingStream, fmt.Sprintf("and %d more streams are not in the repository", more))
	}
	switch {
	case s.status == Damaged:
		x.problem(s.timestamp, s.unreadable, DamagedStream, s.reason)
	case s.status == Failed, s.status == Incomplete && s.missingN == 0:
		x.problem(s.timestamp, "", BadStatus, s.reason)
	}
}

// judge puts what the repository is to blame for into the list, and returns
// every other error.
func (x *reader) judge(name repo.Name, err error) error {
	var output *repo.OutputError
	switch {
	case errors.As(err, &output):
		return err
	case isDamage(err):
		x.problem(name.Group, name.Item, DamagedStream, err.Error())
	case errors.Is(err, repo.ErrNoStream):
		x.problem(name.Group, name.Item, MissingStream, "removed while it was being read")
	default:
		return err
	}
	return nil
}

// work is a stream to read.
type work struct {
	name     repo.Name
	length   uint64
	wrapping manifest.Wrapping
	tail     uint64
	origin   manifest.Origin
	manifest *manifest.Manifest // nil: too large to keep, read it again
}

// manifests reads the manifests of streams, and keeps the small ones. Streams
// whose manifest cannot be read are left out.
func (x *reader) manifests(ctx context.Context, items []repo.Item) ([]work, error) {
	todo := make([]work, len(items))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, item := range items {
		g.Go(func() error {
			m, err := x.r.Stream(ctx, item.Name)
			if err != nil {
				return x.judge(item.Name, err)
			}
			todo[i] = work{name: item.Name, length: m.Length, wrapping: m.Wrapping, tail: m.Tail, origin: m.Origin}
			if len(m.Leaves) == 0 && len(m.Table.Rows) <= 16 {
				todo[i].manifest = m
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	todo = slices.DeleteFunc(todo, func(w work) bool { return w.name.Item == "" })
	for i := range todo {
		x.total += int64(todo[i].length)
	}
	return todo, nil
}

func (x *reader) advance(n int64) {
	if x.progress == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done += n
	x.progress(x.done, x.total)
}

// restore writes one stream to out. If that is not possible because of what is
// stored, it is put into the list, and the result is false.
func (x *reader) restore(ctx context.Context, w *work, out io.Writer, o repo.RestoreOptions) (bool, error) {
	m, err := w.manifest, error(nil)
	w.manifest = nil // it is not needed again
	if m == nil {
		m, err = x.r.Stream(ctx, w.name)
	}
	var last int64
	if err == nil {
		o.Progress = func(n int64) {
			x.advance(n - last)
			last = n
		}
		err = x.r.RestoreManifest(ctx, m, out, o)
	}
	if err != nil {
		x.advance(int64(w.length) - last)
		return false, x.judge(w.name, err)
	}
	return true, nil
}
