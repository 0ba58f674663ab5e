package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal/base"
)

// BaseListCmd is gpdedup base list.
type BaseListCmd struct {
	Deleted bool `help:"Show deleted backups too, until they are gone."`
}

// Help shows examples.
func (BaseListCmd) Help() string {
	return `Shows for each base backup until when it can be recovered, on each timeline: how far the
archive has WAL without a gap, and when the last segment of that was archived. Last come
pushes that are not complete: 'gpdedup base delete LABEL' gives up one that was killed.

Examples:

	gpdedup base list --cluster main
	gpdedup base list --cluster main --json
`
}

// Run lists base backups.
func (c *BaseListCmd) Run(g *Globals, b *BaseCmd) error {
	r, a, err := b.open(g, "read")
	if err != nil {
		return err
	}
	defer r.Close()
	unfinished, err := base.FindUnfinished(g.Context(), a)
	if err != nil {
		return fmt.Errorf("base list: %w", err)
	}
	list, err := base.List(g.Context(), r, a, c.Deleted)
	if err != nil {
		return fmt.Errorf("base list: %w", err)
	}
	rows, err := base.Rows(g.Context(), a, list)
	if err != nil {
		return fmt.Errorf("base list: %w", err)
	}
	rows = append(rows, base.UnfinishedRows(a, unfinished, rows)...)
	others := ""
	if len(rows) == 0 {
		if others, err = otherNamespaces(g, r, repo.Base); err != nil {
			return fmt.Errorf("base list: %w", err)
		}
	}
	return g.Print(rows, func(w io.Writer) { printBases(w, rows, g.Namespace, others) })
}

func printBases(w io.Writer, rows []base.Row, namespace, others string) {
	if len(rows) == 0 {
		say(w, "no base backups in namespace %s%s", namespace, others)
		return
	}
	t := newTable(w)
	row(t, "BACKUP", "STORED", "SIZE", "NEW", "TIMELINE", "CONSISTENT AT", "RECOVERS TO")
	for _, r := range rows {
		if r.Backup == nil {
			what := r.Problem
			switch {
			case r.Deleted:
				what = "deleted"
			case r.Unfinished != nil:
				what = r.Problem + "; WAL from " + r.Unfinished.From + " on is kept for it"
			}
			row(t, r.Label, formatTime(r.Stored), "", "", "", "", what)
			continue
		}
		row(t, r.Label, formatTime(r.Stored), formatBytes(r.Backup.Bytes), formatBytes(r.StoredSize), r.Backup.Timeline, r.Backup.Stop, reach(&r))
	}
	_ = t.Flush() // to a buffer
}

// reach says how far a backup can be recovered.
func reach(r *base.Row) string {
	if r.Problem != "" {
		return "CANNOT be restored: " + r.Problem
	}
	if len(r.Reach) == 0 {
		return "its own end (WAL included)"
	}
	var to []string
	for _, t := range r.Reach {
		s := "the end of " + t.Until
		if t.Time != nil {
			s += ", archived " + formatTime(*t.Time)
		}
		if len(r.Reach) > 1 {
			s += fmt.Sprintf(" (timeline %d)", t.Timeline)
		}
		if t.Gap != "" {
			s += ", then " + t.Gap + " is missing"
		}
		to = append(to, s)
	}
	return strings.Join(to, "; ")
}
