package backups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// Detail is all there is to know about one timestamp.
type Detail struct {
	Summary
	Started     time.Time `json:"started,omitzero"` // of the earliest stream, by its host's clock
	Hosts       []string  `json:"hosts"`            // that streams came from
	Chain       []Link    `json:"chain,omitempty"`  // what an incremental backup builds on, the oldest first
	Missing     []string  `json:"missing"`          // names of missing streams, the first thousand
	Notes       []string  `json:"notes"`
	StreamInfos []Stream  `json:"stream_list,omitempty"`
}

// Stream is one stored file of a backup.
type Stream struct {
	Name        string    `json:"name"`
	Kind        Kind      `json:"kind"`
	Content     int       `json:"content"`
	Table       string    `json:"table,omitempty"`
	Bytes       *uint64   `json:"bytes,omitempty"` // uncompressed; unknown if the backup is deleted
	NewBytes    *uint64   `json:"new_bytes,omitempty"`
	Wrapping    string    `json:"wrapping,omitempty"` // that is taken off and put on again: "gzip", "zstd"
	Host        string    `json:"host,omitempty"`
	Path        string    `json:"path,omitempty"` // as gpbackup named it
	Started     time.Time `json:"started,omitzero"`
	Stored      time.Time `json:"stored,omitzero"`
	Checkpoints int       `json:"checkpoints,omitempty"`
	Problem     string    `json:"problem,omitempty"` // why its manifest cannot be read
}

// maxNotes bounds how many cut off streams are named.
const maxNotes = 20

// Show looks closely at one timestamp. One of which nothing is stored is
// repo.ErrNoStream.
func Show(ctx context.Context, r *repo.Repo, namespace, timestamp string) (*Detail, error) {
	if !ValidTimestamp(timestamp) {
		return nil, fmt.Errorf("show backup: %w: %q is not a timestamp of 14 digits", repo.ErrUsage, timestamp)
	}
	c, err := newCatalog(ctx, r, namespace)
	if err != nil {
		return nil, fmt.Errorf("show backup: %w", err)
	}
	s, err := c.look(ctx, timestamp)
	if err != nil {
		return nil, fmt.Errorf("show %w", err)
	}
	d, err := c.detail(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("show backup %s: %w", timestamp, err)
	}
	return d, nil
}

func (c *catalog) detail(ctx context.Context, s *survey) (*Detail, error) {
	d := &Detail{Summary: s.summary(c.namespace), Missing: s.missing, Notes: s.notes}
	for i, item := range s.attempts {
		if i == maxNotes {
			d.Notes = append(d.Notes, fmt.Sprintf("and %d more", len(s.attempts)-i))
			break
		}
		d.Notes = append(d.Notes, fmt.Sprintf("%s: %d checkpoints are left over from attempts that were cut off", item.Name.Item, item.Checkpoints))
	}
	if d.Missing == nil {
		d.Missing = []string{}
	}
	if d.Notes == nil {
		d.Notes = []string{}
	}
	var err error
	if d.StreamInfos, err = c.streams(ctx, s); err != nil {
		return nil, err
	}
	if !s.deleted {
		c.addSizes(&d.Summary, d.StreamInfos)
	}
	hosts := make(map[string]bool)
	for _, x := range d.StreamInfos {
		if x.Host != "" {
			hosts[x.Host] = true
		}
		if !x.Started.IsZero() && (d.Started.IsZero() || x.Started.Before(d.Started)) {
			d.Started = x.Started
		}
	}
	d.Hosts = slices.AppendSeq([]string{}, maps.Keys(hosts))
	slices.Sort(d.Hosts)
	d.Chain, err = c.checkChain(ctx, &d.Summary)
	return d, err
}

// streams reads the manifests of all streams. A manifest that cannot be read is
// described, not an error. Those of a deleted backup are not read.
func (c *catalog) streams(ctx context.Context, s *survey) ([]Stream, error) {
	out := make([]Stream, len(s.items))
	g, ctx := errgroup.WithContext(ctx)
	for i, item := range s.items {
		f := ParseFile(s.timestamp, item.Name.Item)
		x := &out[i]
		*x = Stream{Name: item.Name.Item, Kind: f.Kind, Content: f.Content, Stored: item.Stored.UTC(), Checkpoints: item.Checkpoints}
		if e, ok := s.tables[f.OID]; ok && f.Kind == TableData {
			x.Table = e.Schema + "." + e.Name
		}
		if s.deleted && !c.scans {
			continue
		}
		select {
		case c.reads <- struct{}{}:
		case <-ctx.Done():
			if err := g.Wait(); err != nil {
				return nil, err
			}
			return nil, context.Cause(ctx)
		}
		g.Go(func() error {
			defer func() { <-c.reads }()
			head, err := c.head(ctx, item.Name)
			switch {
			case err == nil:
				x.describe(&head, item)
			case isDamage(err), errors.Is(err, repo.ErrNoStream):
				x.Problem = err.Error()
			default:
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// head reads what the manifest of a stream says of it.
func (c *catalog) head(ctx context.Context, name repo.Name) (manifest.Head, error) {
	if c.scans {
		return c.r.Head(ctx, name)
	}
	m, err := c.r.Stream(ctx, name)
	if err != nil {
		return manifest.Head{}, err
	}
	return m.Head(), nil
}

func (x *Stream) describe(m *manifest.Head, item repo.Item) {
	// What the stream cost is in its manifest; the manifest itself is not.
	length, stored := m.Length, m.Stats.NewStored+uint64(item.Bytes)
	x.Bytes, x.NewBytes = &length, &stored
	x.Wrapping = map[manifest.Wrapping]string{manifest.Gzip: "gzip", manifest.Zstd: "zstd"}[m.Wrapping]
	x.Host, x.Path, x.Started = m.Origin.Host, m.Origin.Path, m.Origin.Time.UTC()
}

// addSizes sums up the streams, and lets a stream that cannot be read decide on
// the status.
func (c *catalog) addSizes(sum *Summary, streams []Stream) {
	var bytes, stored uint64
	for i := range streams {
		x := &streams[i]
		if x.Bytes != nil {
			bytes, stored = bytes+*x.Bytes, stored+*x.NewBytes
		}
		if x.Problem != "" && sum.Status != Failed {
			sum.Status, sum.Reason = Damaged, x.Name+": "+x.Problem
			c.setStatus(sum.Timestamp, Damaged)
		}
	}
	sum.Bytes, sum.NewBytes = &bytes, &stored
}
