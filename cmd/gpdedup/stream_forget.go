package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/retention"
)

// StreamForgetCmd is gpdedup stream forget.
type StreamForgetCmd struct {
	Names []string `arg:"" optional:"" name:"name" help:"Only these streams; all of the namespace if none is given."`
	keepFlags
}

// Help shows examples.
func (StreamForgetCmd) Help() string {
	return `Deletes old versions of streams. The rules are applied to each stream by itself.

` + keepHelp + `
Examples:

	gpdedup stream forget sales --keep-daily 7 --keep-monthly 12 --dry-run
	gpdedup stream forget --keep-within 30d --prune
`
}

type streamForgetReport struct {
	DryRun    bool              `json:"dry_run"`
	Streams   []forgottenStream `json:"streams"`
	Kept      int               `json:"kept"`
	Forgotten int               `json:"forgotten"`
	Prune     *repo.PruneReport `json:"prune,omitempty"`
}

type forgottenStream struct {
	Namespace string           `json:"namespace"`
	Name      string           `json:"name"`
	Versions  []versionVerdict `json:"versions"` // the newest first
}

type versionVerdict struct {
	Version string    `json:"version"`
	Stored  time.Time `json:"stored"` // by the storage's clock
	Keep    bool      `json:"keep"`
	Reasons []string  `json:"reasons"`
}

// Run forgets versions of streams.
func (c *StreamForgetCmd) Run(g *Globals) error {
	policy, err := c.policy("forget streams")
	if err != nil {
		return err
	}
	r, err := g.Open("gc")
	if err != nil {
		return err
	}
	defer r.Close()
	report, err := c.forget(g.Context(), r, g.Namespace, &policy)
	if err != nil {
		return fmt.Errorf("forget streams: %w", err)
	}
	report.Prune, err = c.pruneAfter(g, r)
	if err != nil {
		return fmt.Errorf("streams are forgotten, but their space is not freed: %w", err)
	}
	g.countForgotten(c.DryRun, report.Kept, report.Forgotten, report.Prune)
	return g.Print(report, report.write)
}

func (c *StreamForgetCmd) forget(ctx context.Context, r *repo.Repo, namespace string, policy *retention.Policy) (*streamForgetReport, error) {
	names := c.Names
	if len(names) == 0 {
		var err error
		if names, err = r.Groups(ctx, repo.Named, namespace); err != nil {
			return nil, err
		}
	}
	deleted, err := r.DeletedGroups(ctx, repo.Named, namespace)
	if err != nil {
		return nil, err
	}
	report := &streamForgetReport{DryRun: c.DryRun, Streams: []forgottenStream{}}
	for _, name := range names {
		items, err := streamVersions(ctx, r, namespace, name)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 && len(c.Names) > 0 {
			return nil, noStream(name, namespace)
		}
		var versions []retention.Backup
		for _, item := range items {
			if !deleted[item.Name.String()] {
				versions = append(versions, retention.Backup{Name: item.Name.Item, Stored: item.Stored})
			}
		}
		stream := forgottenStream{Namespace: namespace, Name: name, Versions: []versionVerdict{}}
		for _, d := range policy.Apply(versions) {
			v := versionVerdict{Version: d.Name, Stored: d.Stored.UTC(), Keep: d.Keep, Reasons: d.Rules}
			if d.Keep {
				report.Kept++
			} else {
				v.Reasons = []string{"no rule keeps it"}
				report.Forgotten++
				if err := c.delete(ctx, r, repo.Name{Class: repo.Named, Namespace: namespace, Group: name, Item: d.Name}); err != nil {
					return nil, err
				}
			}
			stream.Versions = append(stream.Versions, v)
		}
		if len(stream.Versions) > 0 {
			report.Streams = append(report.Streams, stream)
		}
	}
	return report, nil
}

func (c *StreamForgetCmd) delete(ctx context.Context, r *repo.Repo, name repo.Name) error {
	if c.DryRun {
		return nil
	}
	return r.Delete(ctx, name)
}

func (f *streamForgetReport) write(w io.Writer) {
	for _, s := range f.Streams {
		say(w, "%s (namespace %s):", s.Name, s.Namespace)
		list := make([]verdict, len(s.Versions))
		for i, v := range s.Versions {
			list[i] = verdict{v.Version, v.Stored, v.Keep, v.Reasons}
		}
		writeVerdicts(w, f.DryRun, list)
	}
	writeForgotten(w, f.DryRun, f.Kept, f.Forgotten, "version")
	if f.Prune != nil {
		writePrune(w, f.Prune)
	}
}
