package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
)

// StreamListCmd is gpdedup stream list.
type StreamListCmd struct {
	Name    string `arg:"" optional:"" help:"Only this stream."`
	Deleted bool   `help:"Show deleted versions too, until they are gone."`
}

// Help shows examples.
func (StreamListCmd) Help() string {
	return "Examples:\n\n\tgpdedup stream list\n\tgpdedup stream list sales --deleted\n\tgpdedup --json stream list\n"
}

// streamRow is one version of a stream. What only the manifest says is missing for
// a deleted one.
type streamRow struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Time      time.Time `json:"time"`
	Bytes     *uint64   `json:"bytes,omitempty"`
	NewBytes  *uint64   `json:"new_bytes,omitempty"`
	Stored    *uint64   `json:"stored_bytes,omitempty"`
	Host      string    `json:"host,omitempty"`
	Deleted   bool      `json:"deleted"`

	manifest uint64 // bytes of it
}

// Run lists streams.
func (c *StreamListCmd) Run(g *Globals) error {
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	rows, err := c.rows(g.Context(), r, g.Namespace)
	if err != nil {
		return fmt.Errorf("list streams: %w", err)
	}
	others := ""
	if len(rows) == 0 {
		if others, err = otherNamespaces(g, r, repo.Named); err != nil {
			return fmt.Errorf("list streams: %w", err)
		}
	}
	return g.Print(rows, func(w io.Writer) {
		if len(rows) == 0 && others != "" {
			_, _ = fmt.Fprintf(w, "no streams in namespace %s%s\n", oneLine(g.Namespace), others)
			return
		}
		c.print(w, rows)
	})
}

func (c *StreamListCmd) rows(ctx context.Context, r *repo.Repo, namespace string) ([]streamRow, error) {
	names := []string{c.Name}
	if c.Name == "" {
		var err error
		if names, err = r.Groups(ctx, repo.Named, namespace); err != nil {
			return nil, err
		}
	}
	deleted, err := r.DeletedGroups(ctx, repo.Named, namespace)
	if err != nil {
		return nil, err
	}
	rows := []streamRow{} // an empty list is [] in JSON
	for _, name := range names {
		items, err := streamVersions(ctx, r, namespace, name)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 && c.Name != "" {
			return nil, noStream(name, namespace)
		}
		for _, item := range items {
			gone := deleted[item.Name.String()]
			if gone && !c.Deleted {
				continue
			}
			rows = append(rows, streamRow{Namespace: namespace, Name: name, Version: item.Name.Item, Time: item.Stored.UTC(), Deleted: gone, manifest: uint64(item.Bytes)})
		}
	}
	return readRows(ctx, r, rows)
}

// readRows completes the rows from their manifests, and leaves out what was
// removed meanwhile.
func readRows(ctx context.Context, r *repo.Repo, rows []streamRow) ([]streamRow, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	gone := make([]bool, len(rows))
	for i := range rows {
		row := &rows[i]
		if row.Deleted {
			continue
		}
		group.Go(func() error {
			m, err := r.Stream(ctx, repo.Name{Class: repo.Named, Namespace: row.Namespace, Group: row.Name, Item: row.Version})
			if errors.Is(err, repo.ErrNoStream) || errors.Is(err, repo.ErrDeleted) {
				gone[i] = true
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s@%s: %w", row.Name, row.Version, err)
			}
			// Copies: pointers into it would keep the whole manifest in memory.
			length, fresh, stored := m.Length, m.Stats.NewRaw, m.Stats.NewStored+row.manifest
			row.Bytes, row.NewBytes, row.Stored, row.Host = &length, &fresh, &stored, m.Origin.Host
			if !m.Origin.Time.IsZero() {
				row.Time = m.Origin.Time.UTC()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	kept := rows[:0]
	for i, row := range rows {
		if !gone[i] {
			kept = append(kept, row)
		}
	}
	return kept, nil
}

func (c *StreamListCmd) print(w io.Writer, rows []streamRow) {
	if len(rows) == 0 {
		say(w, "no streams")
		return
	}
	t := newTable(w)
	row(t, "NAME", "VERSION", "TIME", "LENGTH", "NEW")
	for _, r := range rows {
		length, fresh, note := "-", "-", ""
		if r.Bytes != nil {
			length, fresh = formatBytes(*r.Bytes), formatBytes(*r.NewBytes)
		}
		if r.Deleted {
			note = "deleted"
		}
		row(t, r.Name, r.Version, formatTime(r.Time), length, fresh, note)
	}
	_ = t.Flush() // to a buffer
}

// StreamDeleteCmd is gpdedup stream delete.
type StreamDeleteCmd struct {
	Stream string `arg:"" name:"name[@version]" help:"The version, or with --all the stream."`
	All    bool   `help:"Delete every version."`
}

// Help shows examples.
func (StreamDeleteCmd) Help() string {
	return `What is deleted cannot be read any more.

Examples:

	gpdedup stream delete sales@20261121T213355.123456Z-9f3a
	gpdedup stream delete sales --all
`
}

type deleteReport struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Deleted   []string `json:"deleted"` // versions
	Already   []string `json:"already_deleted"`
}

// Run deletes versions of a stream.
func (c *StreamDeleteCmd) Run(g *Globals) error {
	name, version, err := splitVersion(c.Stream)
	switch {
	case err != nil:
		return err
	case version == "" && !c.All:
		return usageError(fmt.Sprintf("delete stream: %s: no version is given", name), "give "+name+"@VERSION, or --all for every version")
	case version != "" && c.All:
		return usageError("delete stream: both a version and --all are given", "choose one")
	}
	r, err := g.Open("write")
	if err != nil {
		return err
	}
	defer r.Close()
	report, err := deleteVersions(g.Context(), r, g.Namespace, name, version)
	if err != nil {
		return fmt.Errorf("delete stream: %w", err)
	}
	return g.Print(report, func(w io.Writer) {
		for _, v := range report.Deleted {
			say(w, "deleted %s@%s", name, v)
		}
		for _, v := range report.Already {
			say(w, "%s@%s was deleted already", name, v)
		}
	})
}

// deleteVersions deletes one version, or all of them if none is given.
func deleteVersions(ctx context.Context, r *repo.Repo, namespace, name, version string) (*deleteReport, error) {
	items, err := streamVersions(ctx, r, namespace, name)
	if err != nil {
		return nil, err
	}
	report := &deleteReport{Namespace: namespace, Name: name, Deleted: []string{}, Already: []string{}}
	for _, item := range items {
		if version != "" && item.Name.Item != version {
			continue
		}
		deleted, err := r.Deleted(ctx, item.Name)
		if err != nil {
			return nil, err
		}
		if deleted {
			report.Already = append(report.Already, item.Name.Item)
			continue
		}
		if err := r.Delete(ctx, item.Name); err != nil {
			return nil, err
		}
		report.Deleted = append(report.Deleted, item.Name.Item)
	}
	if len(report.Deleted)+len(report.Already) == 0 {
		if version != "" {
			name += "@" + version
		}
		return nil, noStream(name, namespace)
	}
	return report, nil
}
