package backups

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
)

// ScanOptions say what to do with what Scan finds.
type ScanOptions struct {
	// Streams is given each timestamp with its streams, in no particular order and by one
	// goroutine at a time. It keeps neither. The status does not know of ancestors yet.
	Streams func(s *Summary, streams []Stream)
	// Progress is told how many of the timestamps are done, by one goroutine at a time.
	Progress func(done, total int)
}

// How much a scan holds at once: of a large cluster one timestamp has a hundred
// thousand streams.
const (
	scanTimestamps = 3
	scanManifests  = 16
)

// Scan looks at every timestamp of a namespace and every stream of it, deleted ones
// included, whose sizes it tells too, and returns the timestamps, the newest first. It
// reads the heads of manifests only, and keeps no streams.
func Scan(ctx context.Context, r *repo.Repo, namespace string, o ScanOptions) ([]Summary, error) {
	c, err := newCatalog(ctx, r, namespace)
	if err != nil {
		return nil, fmt.Errorf("scan backups: %w", err)
	}
	c.scans, c.reads = true, make(chan struct{}, scanManifests)
	groups, err := r.Groups(ctx, repo.Backup, namespace)
	if err != nil {
		return nil, fmt.Errorf("scan backups: %w", err)
	}
	groups = slices.DeleteFunc(groups, func(ts string) bool { return !ValidTimestamp(ts) })
	slices.Reverse(groups)
	found := make([]*Summary, len(groups))
	done := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(scanTimestamps)
	for i, ts := range groups {
		g.Go(func() error {
			sum, streams, err := c.scan(gctx, ts)
			if errors.Is(err, repo.ErrNoStream) {
				return nil // removed since it was listed
			}
			if err != nil {
				return err
			}
			found[i] = sum
			c.mu.Lock()
			defer c.mu.Unlock()
			if o.Streams != nil {
				o.Streams(sum, streams)
			}
			done++
			if o.Progress != nil {
				o.Progress(done, len(groups))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("scan backups: %w", err)
	}
	out := make([]Summary, 0, len(found))
	for _, sum := range found {
		if sum == nil {
			continue
		}
		// Only now: most ancestors are in the same list.
		if _, err := c.checkChain(ctx, sum); err != nil {
			return nil, fmt.Errorf("scan backups: %w", err)
		}
		out = append(out, *sum)
	}
	return out, nil
}

func (c *catalog) scan(ctx context.Context, ts string) (*Summary, []Stream, error) {
	s, err := c.look(ctx, ts)
	if err != nil {
		return nil, nil, err
	}
	streams, err := c.streams(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	sum := s.summary(c.namespace)
	c.addSizes(&sum, streams)
	if s.deleted {
		sum.Status, sum.Reason = Deleted, ""
		c.setStatus(ts, Deleted)
	}
	return &sum, streams, nil
}
