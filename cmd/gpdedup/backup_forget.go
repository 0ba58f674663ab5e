package main

import (
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// BackupForgetCmd is gpdedup backup forget.
type BackupForgetCmd struct {
	keepFlags
	Database      string `placeholder:"NAME" help:"Only the backups of this database."`
	AllNamespaces bool   `name:"all-namespaces" help:"The backups of every cluster, not only of --namespace."`
}

// Help shows examples.
func (BackupForgetCmd) Help() string {
	return `Deletes old backups. The rules are applied to each database of each cluster by itself, and
to backups of everything, of metadata, of data and of chosen tables apart.

` + keepHelp + `
Never forgotten are backups that are incomplete (they may be running), damaged, or have
lost what they build on, and timestamps that are no dates: 'gpdedup backup delete' deletes
them. What a backup that stays builds on, stays. A failed backup takes no place among those
that a rule keeps, and goes once a newer one is complete.

Examples:

	gpdedup backup forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
	gpdedup backup forget --keep-within 14d --keep-monthly 6 --all-namespaces --prune
	gpdedup backup forget --keep-last 3 --database sales
`
}

type backupForgetReport struct {
	DryRun    bool              `json:"dry_run"`
	Groups    []backups.Group   `json:"groups"`
	Kept      int               `json:"kept"`
	Forgotten int               `json:"forgotten"`
	Warnings  []string          `json:"warnings"`
	Prune     *repo.PruneReport `json:"prune,omitempty"`
}

// Run forgets backups.
func (c *BackupForgetCmd) Run(g *Globals) error {
	policy, err := c.policy("forget backups")
	if err != nil {
		return err
	}
	r, err := g.Open("gc")
	if err != nil {
		return err
	}
	defer r.Close()
	namespaces := []string{g.Namespace}
	if c.AllNamespaces {
		if namespaces, err = r.Namespaces(g.Context(), repo.Backup); err != nil {
			return fmt.Errorf("forget backups: %w", err)
		}
	}
	report := &backupForgetReport{DryRun: c.DryRun, Groups: []backups.Group{}, Warnings: []string{}}
	for _, namespace := range namespaces {
		update, done := g.lateProgress("reading backups of "+namespace, countOnly)
		part, err := backups.Forget(g.Context(), r, namespace, backups.ForgetOptions{
			Policy: policy, Database: c.Database, DryRun: c.DryRun,
			Progress: func(n, total int) { update(int64(n), int64(total)) },
		})
		done()
		if err != nil {
			return err
		}
		report.Groups = append(report.Groups, part.Groups...)
		report.Kept += part.Kept
		report.Forgotten += len(part.Forgot)
		for _, text := range part.Warnings {
			report.Warnings = append(report.Warnings, "namespace "+namespace+": "+text)
		}
	}
	report.Prune, err = c.pruneAfter(g, r)
	if err != nil {
		return fmt.Errorf("backups are forgotten, but their space is not freed: %w", err)
	}
	g.countForgotten(c.DryRun, report.Kept, report.Forgotten, report.Prune)
	return g.Print(report, report.write)
}

func (f *backupForgetReport) write(w io.Writer) {
	for _, group := range f.Groups {
		scope := ""
		if group.Scope != "" && group.Scope != backups.Everything {
			scope = ", " + string(group.Scope)
		}
		say(w, "%s (namespace %s%s):", orDash(group.Database), group.Namespace, scope)
		list := make([]verdict, len(group.Backups))
		for i, b := range group.Backups {
			list[i] = verdict{b.Timestamp, b.Stored, b.Keep, b.Reasons}
		}
		writeVerdicts(w, f.DryRun, list)
	}
	for _, text := range f.Warnings {
		say(w, "warning: %s", text)
	}
	writeForgotten(w, f.DryRun, f.Kept, f.Forgotten, "backup")
	if f.Prune != nil {
		writePrune(w, f.Prune)
	}
}
