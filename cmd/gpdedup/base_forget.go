package main

import (
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/retention"
	"github.com/gpdedup/gpdedup/wal/base"
)

// BaseForgetCmd is gpdedup base forget.
type BaseForgetCmd struct {
	PITRWithin retention.Age `name:"pitr-within" placeholder:"TIME" help:"Keep all WAL for that long before the newest backup (14d, 1y6m, 2w, 36h), and for older backups only what makes each consistent; all WAL from the oldest backup on if nothing is said."`
	keepFlags
}

// Help shows examples.
func (BaseForgetCmd) Help() string {
	return `Deletes old base backups, and removes WAL that no recovery needs any more: what lies
before the oldest backup that is kept, and with --pitr-within what lies between older
backups. Those are then restored as they were at their end. What a standby has marked
with 'gpdedup wal cleanup --standby' stays, and so do histories.

` + keepHelp + `WAL that is removed does not come back.

Examples:

	gpdedup base forget --cluster main --keep-daily 7 --keep-weekly 5 --pitr-within 7d --dry-run
	gpdedup base forget --cluster main --keep-last 3 --prune
`
}

type baseForgetReport struct {
	*base.ForgetReport
	Prune *repo.PruneReport `json:"prune,omitempty"`
}

// Run forgets base backups.
func (c *BaseForgetCmd) Run(g *Globals, b *BaseCmd) error {
	policy, err := c.policy("base forget")
	if err != nil {
		return err
	}
	r, a, err := b.open(g, "gc")
	if err != nil {
		return err
	}
	defer r.Close()
	report := baseForgetReport{}
	report.ForgetReport, err = base.Forget(g.Context(), r, a, base.ForgetOptions{Policy: policy, PITR: c.PITRWithin, DryRun: c.DryRun})
	if err != nil {
		return fmt.Errorf("base forget: %w", err)
	}
	if report.Prune, err = c.pruneAfter(g, r); err != nil {
		return fmt.Errorf("base backups are forgotten, but their space is not freed: %w", err)
	}
	kept := 0
	for i := range report.Backups {
		if report.Backups[i].Keep {
			kept++
		}
	}
	g.countForgotten(c.DryRun, kept, len(report.Backups)-kept, report.Prune)
	return g.Print(report, report.write)
}

func (f *baseForgetReport) write(w io.Writer) {
	list := make([]verdict, len(f.Backups))
	kept := 0
	for i, b := range f.Backups {
		if b.Keep {
			kept++
			what := "consistent only"
			if b.Window {
				what = "with all WAL after it"
			}
			b.Rules = append(b.Rules, what)
		}
		list[i] = verdict{b.Label, b.Stored, b.Keep, b.Rules}
	}
	writeVerdicts(w, f.DryRun, list)
	writeForgotten(w, f.DryRun, kept, len(f.Backups)-kept, "base backup")
	for _, c := range f.WAL {
		verb := "removed"
		if f.DryRun {
			verb = "would remove"
		}
		say(w, "%s %s of WAL (%s); everything from %s on is kept, for %s; %s left", verb, count(c.Removed, "file"), formatBytes(c.Bytes),
			c.From, c.KeptFor, count(c.Remaining, "segment"))
	}
	if f.Prune != nil {
		writePrune(w, f.Prune)
	}
}
