package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
)

// parallel bounds concurrent reads of small objects.
const parallel = 8

// Summary is one timestamp. What is not known, because config.yaml is missing or
// sizes were not asked for, is left out of the JSON.
type Summary struct {
	Timestamp       string    `json:"timestamp"`
	Namespace       string    `json:"namespace"`
	Status          Status    `json:"status"`
	Reason          string    `json:"reason,omitempty"` // why it is not complete
	Database        string    `json:"database,omitempty"`
	Type            string    `json:"type,omitempty"` // "full" or "incremental"
	Ancestors       []string  `json:"ancestors,omitempty"`
	MetadataOnly    bool      `json:"metadata_only,omitempty"`
	DataOnly        bool      `json:"data_only,omitempty"`
	SingleDataFile  bool      `json:"single_data_file,omitempty"`
	Compression     string    `json:"compression,omitempty"` // "gzip", "zstd" or "none"
	Segments        int       `json:"segments,omitempty"`
	Tables          int       `json:"tables"` // with data in this backup, not in its ancestors
	Streams         int       `json:"streams"`
	MissingStreams  int       `json:"missing_streams"`
	Bytes           *uint64   `json:"bytes,omitempty"`     // of all streams, uncompressed
	NewBytes        *uint64   `json:"new_bytes,omitempty"` // that the repository grew by, manifests included
	Checkpoints     int       `json:"checkpoints"`         // left over from streams that were cut off
	FirstStored     time.Time `json:"first_stored,omitzero"`
	LastStored      time.Time `json:"last_stored,omitzero"`
	GpbackupVersion string    `json:"gpbackup_version,omitempty"`
	DatabaseVersion string    `json:"database_version,omitempty"`
	Plugin          string    `json:"plugin,omitempty"`
	PluginVersion   string    `json:"plugin_version,omitempty"`

	configStored time.Time // when config.yaml was stored; zero without one
	scope        Scope
}

// Duration is the time between the first and the last stream that was stored, by
// the storage's clock.
func (s *Summary) Duration() time.Duration { return s.LastStored.Sub(s.FirstStored) }

// ListOptions say which timestamps to list, and how closely to look.
type ListOptions struct {
	Limit   int  // at most so many; 0: all
	Deleted bool // deleted ones, too
	// Sizes also fills in Bytes and NewBytes, for which the manifest of every
	// stream must be read. Without it a damaged manifest goes unnoticed.
	Sizes bool
	// Progress is told how many of the timestamps are done, by one goroutine at a
	// time.
	Progress func(done, total int)
}

// List returns the timestamps of a namespace, the newest first.
func List(ctx context.Context, r *repo.Repo, namespace string, o ListOptions) ([]Summary, error) {
	c, err := newCatalog(ctx, r, namespace)
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	groups, err := r.Groups(ctx, repo.Backup, namespace)
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	groups = slices.DeleteFunc(groups, func(ts string) bool {
		return !ValidTimestamp(ts) || c.deleted[ts] && !o.Deleted
	})
	slices.Reverse(groups)
	if o.Limit > 0 && len(groups) > o.Limit {
		groups = groups[:o.Limit]
	}
	out, err := c.summaries(ctx, groups, o)
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	return out, nil
}

// Dependents returns, for each of the given timestamps that others build on, which
// other ones, not deleted, do, the oldest first. A config.yaml that cannot be read
// names none.
func Dependents(ctx context.Context, r *repo.Repo, namespace string, timestamps ...string) (map[string][]string, error) {
	fail := func(err error) (map[string][]string, error) {
		return nil, fmt.Errorf("list dependents of %s: %w", strings.Join(timestamps, ", "), err)
	}
	deleted, err := r.DeletedGroups(ctx, repo.Backup, namespace)
	if err != nil {
		return fail(err)
	}
	groups, err := r.Groups(ctx, repo.Backup, namespace)
	if err != nil {
		return fail(err)
	}
	groups = slices.DeleteFunc(groups, func(ts string) bool { return !ValidTimestamp(ts) || deleted[ts] })
	ancestors := make([][]string, len(groups))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, ts := range groups {
		g.Go(func() (err error) {
			ancestors[i], err = readAncestors(ctx, r, namespace, ts)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fail(err)
	}
	out := make(map[string][]string)
	for i, ts := range groups {
		for _, a := range ancestors[i] {
			if slices.Contains(timestamps, a) {
				out[a] = append(out[a], ts)
			}
		}
	}
	return out, nil
}

// readAncestors returns what the config.yaml of a timestamp says that it builds on:
// nothing, if there is none that can be read.
func readAncestors(ctx context.Context, r *repo.Repo, namespace, ts string) (ancestors []string, err error) {
	name := streamName(namespace, ts, coordinatorFile(ts, ConfigFile))
	err = readStream(ctx, r, name, false, func(in io.Reader) error {
		config, err := ReadConfig(in)
		if err == nil {
			ancestors = config.Ancestors(ts)
		}
		return err
	})
	if isDamage(err) || errors.Is(err, repo.ErrNoStream) || errors.Is(err, repo.ErrDeleted) {
		return nil, nil
	}
	return ancestors, err
}

// catalog looks at the timestamps of one namespace.
type catalog struct {
	r         *repo.Repo
	namespace string
	deleted   map[string]bool
	reads     chan struct{} // holds a token for each manifest being read
	// scans: the manifests of deleted backups are read too, and of all only the heads.
	scans bool

	mu       sync.Mutex
	statuses map[string]Status // of timestamps by themselves
}

func newCatalog(ctx context.Context, r *repo.Repo, namespace string) (*catalog, error) {
	deleted, err := r.DeletedGroups(ctx, repo.Backup, namespace)
	if err != nil {
		return nil, err
	}
	return &catalog{
		r: r, namespace: namespace, deleted: deleted,
		reads: make(chan struct{}, parallel), statuses: make(map[string]Status),
	}, nil
}

func (c *catalog) look(ctx context.Context, timestamp string) (*survey, error) {
	s, err := look(ctx, c.r, c.namespace, timestamp, c.deleted[timestamp])
	if err == nil {
		c.setStatus(timestamp, s.status)
	}
	return s, err
}

func (c *catalog) setStatus(timestamp string, s Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses[timestamp] = s
}

func (c *catalog) summaries(ctx context.Context, groups []string, o ListOptions) ([]Summary, error) {
	found := make([]*Summary, len(groups))
	var done int
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, ts := range groups {
		g.Go(func() error {
			sum, err := c.summary(gctx, ts, o.Sizes)
			if err != nil && !errors.Is(err, repo.ErrNoStream) && !errors.Is(err, repo.ErrDeleted) {
				return err
			}
			found[i] = sum // or nil: removed, or deleted, since it was listed
			if o.Progress != nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				done++
				o.Progress(done, len(groups))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make([]Summary, 0, len(found))
	for _, sum := range found {
		if sum == nil {
			continue
		}
		// Only now: most ancestors are in the same list.
		if _, err := c.checkChain(ctx, sum); err != nil {
			return nil, err
		}
		out = append(out, *sum)
	}
	return out, nil
}

func (c *catalog) summary(ctx context.Context, ts string, sizes bool) (*Summary, error) {
	s, err := c.look(ctx, ts)
	if err != nil {
		return nil, err
	}
	sum := s.summary(c.namespace)
	if sizes && !s.deleted {
		streams, err := c.streams(ctx, s)
		if err != nil {
			return nil, err
		}
		c.addSizes(&sum, streams)
	}
	return &sum, nil
}

// Link is a backup that an incremental one builds on.
type Link struct {
	Timestamp string `json:"timestamp"`
	Status    Status `json:"status"` // or "absent"
}

// absent is the status of an ancestor of which nothing is stored.
const absent Status = "absent"

// checkChain finds out about the ancestors of a backup, and sets its status to
// BrokenChain if it is complete only by itself.
func (c *catalog) checkChain(ctx context.Context, sum *Summary) ([]Link, error) {
	var links []Link
	for _, ts := range sum.Ancestors {
		status, err := c.status(ctx, ts)
		if err != nil {
			return nil, err
		}
		links = append(links, Link{ts, status})
		if status != Complete && sum.Status == Complete {
			sum.Status, sum.Reason = BrokenChain, fmt.Sprintf("it builds on %s, which is %s", ts, status)
		}
	}
	return links, nil
}

// status returns the status of a timestamp by itself.
func (c *catalog) status(ctx context.Context, ts string) (Status, error) {
	c.mu.Lock()
	status, ok := c.statuses[ts]
	c.mu.Unlock()
	if ok {
		return status, nil
	}
	s, err := c.look(ctx, ts)
	if errors.Is(err, repo.ErrNoStream) {
		c.setStatus(ts, absent)
		return absent, nil
	}
	if err != nil {
		return "", err
	}
	return s.status, nil
}

// summary is what the survey says without a look at manifests.
func (s *survey) summary(namespace string) Summary {
	out := Summary{
		Timestamp: s.timestamp, Namespace: namespace, Status: s.status, Reason: s.reason,
		Tables: len(s.tables), Streams: len(s.items), MissingStreams: s.missingN,
	}
	for _, item := range s.attempts {
		out.Checkpoints += item.Checkpoints
	}
	config := coordinatorFile(s.timestamp, ConfigFile)
	for _, item := range s.items {
		if item.Name.Item == config {
			out.configStored = item.Stored
		}
		if out.FirstStored.IsZero() || item.Stored.Before(out.FirstStored) {
			out.FirstStored = item.Stored
		}
		if item.Stored.After(out.LastStored) {
			out.LastStored = item.Stored
		}
	}
	out.FirstStored, out.LastStored = out.FirstStored.UTC(), out.LastStored.UTC()
	c := s.config
	if c == nil {
		return out
	}
	out.Database, out.Segments, out.scope = c.DatabaseName, c.SegmentCount, c.scope()
	out.Type = "full"
	if c.Incremental {
		out.Type = "incremental"
	}
	out.Ancestors = c.Ancestors(s.timestamp)
	out.MetadataOnly, out.DataOnly, out.SingleDataFile = c.MetadataOnly, c.DataOnly, c.SingleDataFile
	out.Compression = map[string]string{"": "none", ".gz": "gzip", ".zst": "zstd"}[c.Extension()]
	out.GpbackupVersion, out.DatabaseVersion = c.BackupVersion, c.DatabaseVersion
	out.Plugin, out.PluginVersion = c.Plugin, c.PluginVersion
	return out
}
