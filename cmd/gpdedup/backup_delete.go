package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// BackupDeleteCmd is gpdedup backup delete.
type BackupDeleteCmd struct {
	Timestamps []string `arg:"" name:"timestamp" help:"The backups' timestamps, 14 digits each."`
	Cascade    bool     `help:"Also delete the incremental backups that build on them."`
}

// Help shows examples.
func (BackupDeleteCmd) Help() string {
	return `A deleted backup cannot be restored any more, from this moment on. Its space is freed
later, and until then 'gpdedup backup undelete' brings it back. A backup that incremental
ones build on is not deleted without them: name them too, or give --cascade.

Examples:

	gpdedup backup delete 20261121213355
	gpdedup backup delete 20261121213355 20261122213355
	gpdedup backup delete 20261121213355 --cascade
`
}

type backupDeleteReport struct {
	Namespace  string   `json:"namespace"`
	Deleted    []string `json:"deleted"`
	Already    []string `json:"already_deleted"`
	Dependents []string `json:"dependents"` // backups that came meanwhile and have lost what they build on
}

// Run deletes backups.
func (c *BackupDeleteCmd) Run(g *Globals) error {
	if err := checkTimestamps("delete backup", c.Timestamps...); err != nil {
		return err
	}
	r, err := g.Open("gc")
	if err != nil {
		return err
	}
	defer r.Close()
	report, err := c.delete(g.Context(), r, g.Namespace)
	if err != nil {
		return fmt.Errorf("delete backup: %w", err)
	}
	return g.Print(report, func(w io.Writer) {
		for _, ts := range report.Deleted {
			_, _ = fmt.Fprintf(w, "deleted %s\n", ts)
		}
		for _, ts := range report.Already {
			_, _ = fmt.Fprintf(w, "%s was deleted already\n", ts)
		}
		if len(report.Dependents) > 0 {
			_, _ = fmt.Fprintf(w, "these build on what was deleted and cannot be restored without it: %s\n", strings.Join(report.Dependents, ", "))
		}
	})
}

func (c *BackupDeleteCmd) delete(ctx context.Context, r *repo.Repo, namespace string) (*backupDeleteReport, error) {
	deleted, err := backupState(ctx, r, namespace, c.Timestamps)
	if err != nil {
		return nil, err
	}
	report := &backupDeleteReport{Namespace: namespace, Deleted: []string{}, Already: []string{}, Dependents: []string{}}
	var timestamps []string
	for _, ts := range c.Timestamps {
		if deleted[ts] {
			report.Already = append(report.Already, ts)
		} else if !slices.Contains(timestamps, ts) {
			timestamps = append(timestamps, ts)
		}
	}
	if timestamps, err = c.withDependents(ctx, r, namespace, timestamps); err != nil {
		return nil, err
	}
	// What builds on others goes first: to be stopped half way leaves no chain without
	// its beginning.
	slices.SortFunc(timestamps, func(a, b string) int { return strings.Compare(b, a) })
	for _, ts := range timestamps {
		if err := r.Delete(ctx, repo.Name{Class: repo.Backup, Namespace: namespace, Group: ts}); err != nil {
			return nil, err
		}
		report.Deleted = append(report.Deleted, ts)
	}
	after, err := backups.Dependents(ctx, r, namespace, report.Deleted...)
	if err != nil {
		return nil, err
	}
	report.Dependents = append(report.Dependents, dependents(after, nil)...)
	return report, nil
}

// withDependents adds what builds on the timestamps if --cascade is given, and refuses
// else.
func (c *BackupDeleteCmd) withDependents(ctx context.Context, r *repo.Repo, namespace string, timestamps []string) ([]string, error) {
	found, err := backups.Dependents(ctx, r, namespace, timestamps...)
	if err != nil {
		return nil, err
	}
	more := dependents(found, timestamps)
	if len(more) > 0 && !c.Cascade {
		var bases []string
		for ts, list := range found {
			if slices.ContainsFunc(list, func(x string) bool { return !slices.Contains(timestamps, x) }) {
				bases = append(bases, ts)
			}
		}
		slices.Sort(bases)
		return nil, repo.WithHint(fmt.Errorf("%s: these build on it and could not be restored any more: %s",
			strings.Join(bases, ", "), strings.Join(more, ", ")), "--cascade deletes them too; nothing was deleted")
	}
	return append(timestamps, more...), nil
}

// dependents returns, sorted, what was found to build on anything, less what is named.
func dependents(found map[string][]string, named []string) []string {
	var out []string
	for _, list := range found {
		for _, ts := range list {
			if !slices.Contains(named, ts) {
				out = append(out, ts)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// BackupUndeleteCmd is gpdedup backup undelete.
type BackupUndeleteCmd struct {
	Timestamps []string `arg:"" name:"timestamp" help:"The backups' timestamps, 14 digits each."`
}

// Help shows examples.
func (BackupUndeleteCmd) Help() string {
	return `Deleted backups stay in the repository for a while: 'gpdedup backup list --deleted'.

Example:

	gpdedup backup undelete 20261121213355
`
}

type backupUndeleteReport struct {
	Namespace  string   `json:"namespace"`
	Undeleted  []string `json:"undeleted"`
	NotDeleted []string `json:"not_deleted"`
}

// Run brings deleted backups back.
func (c *BackupUndeleteCmd) Run(g *Globals) error {
	if err := checkTimestamps("undelete backup", c.Timestamps...); err != nil {
		return err
	}
	r, err := g.Open("gc")
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := backupState(g.Context(), r, g.Namespace, c.Timestamps); err != nil {
		return fmt.Errorf("undelete backup: %w", err)
	}
	report := &backupUndeleteReport{Namespace: g.Namespace, Undeleted: []string{}, NotDeleted: []string{}}
	for _, ts := range c.Timestamps {
		err := r.Undelete(g.Context(), repo.Name{Class: repo.Backup, Namespace: g.Namespace, Group: ts})
		if errors.Is(err, repo.ErrNotDeleted) {
			report.NotDeleted = append(report.NotDeleted, ts)
			continue
		}
		if errors.Is(err, repo.ErrTooLate) {
			return repo.WithHint(err, "its space is being freed; it cannot be brought back")
		}
		if err != nil {
			return err
		}
		report.Undeleted = append(report.Undeleted, ts)
	}
	return g.Print(report, func(w io.Writer) {
		for _, ts := range report.Undeleted {
			_, _ = fmt.Fprintf(w, "undeleted %s\n", ts)
		}
		for _, ts := range report.NotDeleted {
			_, _ = fmt.Fprintf(w, "%s was not deleted\n", ts)
		}
	})
}
