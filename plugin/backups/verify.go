package backups

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// VerifyOptions say what to verify.
type VerifyOptions struct {
	Chain bool // also all backups that an incremental one builds on
	// Progress is told how many of the bytes were read, by one goroutine at a time.
	Progress func(done, total int64)
}

// VerifyReport says what came out.
type VerifyReport struct {
	Timestamp string    `json:"timestamp"`
	Namespace string    `json:"namespace"`
	OK        bool      `json:"ok"` // everything is there and was read back
	Status    Status    `json:"status"`
	Reason    string    `json:"reason,omitempty"`
	Verified  []string  `json:"verified"` // timestamps
	Streams   int       `json:"streams"`  // read
	Bytes     uint64    `json:"bytes"`    // of them, uncompressed
	Problems  []Problem `json:"problems"`
}

// Verify reads every stream of a timestamp and checks every byte, and that all
// streams are there. It goes on after damage: what is wrong with the backup is in
// the report; an error means that the repository could not be asked.
func Verify(ctx context.Context, r *repo.Repo, namespace, timestamp string, o VerifyOptions) (*VerifyReport, error) {
	rep, err := verify(ctx, r, namespace, timestamp, o)
	if err != nil {
		return nil, fmt.Errorf("verify backup %s: %w", timestamp, err)
	}
	return rep, nil
}

func verify(ctx context.Context, r *repo.Repo, namespace, timestamp string, o VerifyOptions) (*VerifyReport, error) {
	if !ValidTimestamp(timestamp) {
		return nil, fmt.Errorf("%w: %q is not a timestamp of 14 digits", repo.ErrUsage, timestamp)
	}
	c, err := newCatalog(ctx, r, namespace)
	if err != nil {
		return nil, err
	}
	if c.deleted[timestamp] {
		return nil, repo.ErrDeleted
	}
	s, err := c.look(ctx, timestamp)
	if err != nil {
		return nil, err
	}
	sum := s.summary(namespace)
	links, err := c.checkChain(ctx, &sum)
	if err != nil {
		return nil, err
	}
	v := &verifier{reader: newReader(c, o.Progress), report: VerifyReport{
		Timestamp: timestamp, Namespace: namespace, Status: sum.Status, Reason: sum.Reason, Verified: []string{},
	}}
	all := []*survey{s}
	for _, link := range links {
		if link.Status != Complete {
			v.problem(link.Timestamp, "", BadStatus, fmt.Sprintf("%s builds on it, and it is %s", timestamp, link.Status))
		}
		if !o.Chain || link.Status == absent || link.Status == Deleted {
			continue
		}
		a, err := c.look(ctx, link.Timestamp)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	if err := v.run(ctx, all); err != nil {
		return nil, err
	}
	v.report.Problems = v.sorted()
	v.report.OK = len(v.report.Problems) == 0
	if !v.report.OK && v.report.Status == Complete {
		v.report.Status, v.report.Reason = Damaged, v.report.Problems[0].String()
	}
	return &v.report, nil
}

type verifier struct {
	reader
	report VerifyReport
}

func (v *verifier) run(ctx context.Context, all []*survey) error {
	var todo []work
	for _, s := range all {
		v.report.Verified = append(v.report.Verified, s.timestamp)
		v.completeness(s)
		streams, err := v.manifests(ctx, s.items)
		if err != nil {
			return err
		}
		todo = append(todo, streams...)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(restores)
	for i := range todo {
		g.Go(func() error {
			ok, err := v.restore(gctx, &todo[i], io.Discard, repo.RestoreOptions{Unwrapped: true})
			if ok {
				v.mu.Lock()
				defer v.mu.Unlock()
				v.report.Streams++
				v.report.Bytes += todo[i].length
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, s := range all {
		if err := v.segmentTOCs(ctx, s, todo); err != nil {
			return err
		}
	}
	return nil
}

// segmentTOCs compares each segment's table of contents with its single data
// file. A helper that was killed leaves a stream that ends too early.
func (v *verifier) segmentTOCs(ctx context.Context, s *survey, todo []work) error {
	if s.config == nil || !s.config.SingleDataFile || !s.hasData() {
		return nil
	}
	lengths := make(map[int]uint64)
	for _, w := range todo {
		f := ParseFile(s.timestamp, w.name.Item)
		// A compressed file that was stored as it came has another length.
		plain := f.Extension == "" || w.wrapping != manifest.Plain
		if w.name.Group == s.timestamp && f.Kind == SegmentData && plain {
			lengths[f.Content] = w.length - w.tail
		}
	}
	for content, length := range lengths {
		name := File{Kind: SegmentTOCFile, Content: content}.Name(s.timestamp)
		found, end := 0, uint64(0)
		err := readStream(ctx, v.r, streamName(v.namespace, s.timestamp, name), false, func(in io.Reader) error {
			return ReadSegmentTOC(in, func(oid uint32, e SegmentEntry) error {
				if _, ok := s.tables[oid]; ok {
					found++
				}
				end = max(end, e.EndByte)
				return nil
			})
		})
		data := File{Kind: SegmentData, Content: content, Extension: s.config.Extension()}.Name(s.timestamp)
		switch {
		case errors.Is(err, repo.ErrNoStream), errors.Is(err, repo.ErrDamaged):
			// Reported already.
		case errors.Is(err, ErrMalformed):
			v.problem(s.timestamp, name, DamagedStream, err.Error())
		case err != nil:
			return err
		case found < len(s.tables):
			v.problem(s.timestamp, name, DamagedStream, fmt.Sprintf("names %d of %d tables", found, len(s.tables)))
		case end != length:
			v.problem(s.timestamp, data, DamagedStream, fmt.Sprintf("holds %d bytes; its table of contents describes %d", length, end))
		}
	}
	return nil
}
