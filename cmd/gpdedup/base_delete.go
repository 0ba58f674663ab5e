package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal/base"
)

// BaseDeleteCmd is gpdedup base delete.
type BaseDeleteCmd struct {
	Labels []string `arg:"" name:"label" help:"Labels of the backups."`
}

// Help shows examples.
func (BaseDeleteCmd) Help() string {
	return `A deleted backup cannot be restored any more, from this moment on. Its space is freed by
'gpdedup repo prune', and until then 'gpdedup base undelete' brings it back; its WAL is
removed by the next 'gpdedup base forget' or 'gpdedup wal cleanup'. Of a push that was
killed, which 'gpdedup base list' shows as not complete, what is left is the WAL that is
kept for it; then that is kept no more.

Example:

	gpdedup base delete --cluster main 20261122T020000Z
`
}

type baseDeleteReport struct {
	Namespace string   `json:"namespace"`
	Deleted   []string `json:"deleted"`
	Already   []string `json:"already_deleted"`
	GivenUp   []string `json:"given_up"` // pushes that left a mark and no backup
}

// Run deletes base backups.
func (c *BaseDeleteCmd) Run(g *Globals, b *BaseCmd) error {
	r, a, err := b.open(g, "gc")
	if err != nil {
		return err
	}
	defer r.Close()
	report := baseDeleteReport{Namespace: g.Namespace, Deleted: []string{}, Already: []string{}, GivenUp: []string{}}
	for _, label := range c.Labels {
		err := base.Delete(g.Context(), r, a, label)
		known := err == nil || errors.Is(err, repo.ErrDeleted)
		if known || errors.Is(err, repo.ErrNoStream) {
			// What keeps WAL for a push that was killed, even after its end.
			given, gerr := base.GiveUp(g.Context(), a, label)
			if gerr != nil {
				return fmt.Errorf("base delete: %w", gerr)
			}
			if given && !known {
				report.GivenUp = append(report.GivenUp, label)
				continue
			}
		}
		switch {
		case errors.Is(err, repo.ErrDeleted):
			report.Already = append(report.Already, label)
		case err != nil:
			return fmt.Errorf("base delete: %w", err)
		default:
			report.Deleted = append(report.Deleted, label)
		}
	}
	return g.Print(report, func(w io.Writer) {
		for _, label := range report.Deleted {
			say(w, "deleted base backup %s", label)
		}
		for _, label := range report.GivenUp {
			say(w, "the push of base backup %s is given up; no WAL is kept for it", label)
		}
		for _, label := range report.Already {
			say(w, "base backup %s was deleted already", label)
		}
	})
}

// BaseUndeleteCmd is gpdedup base undelete.
type BaseUndeleteCmd struct {
	Label string `arg:"" help:"Label of the backup."`
}

// Help shows examples.
func (BaseUndeleteCmd) Help() string {
	return `Brings a deleted backup back, if no prune has begun to remove it. Whether the WAL that
makes it consistent is still there is said.

Example:

	gpdedup base undelete --cluster main 20261122T020000Z
`
}

// Run brings a base backup back.
func (c *BaseUndeleteCmd) Run(g *Globals, b *BaseCmd) error {
	r, a, err := b.open(g, "gc")
	if err != nil {
		return err
	}
	defer r.Close()
	ctx := g.Context()
	if err := r.Undelete(ctx, base.Name(a, c.Label)); err != nil {
		if _, there := r.Stream(ctx, base.Name(a, c.Label)); errors.Is(err, repo.ErrNotDeleted) && errors.Is(there, repo.ErrNoStream) {
			err = repo.WithHint(there, "gpdedup base list --deleted")
		}
		return fmt.Errorf("base undelete: %s: %w", c.Label, err)
	}
	backup, err := base.Open(ctx, r, a, c.Label)
	if err != nil {
		return fmt.Errorf("base undelete: %w", err)
	}
	rows, err := base.Rows(ctx, a, []base.Backup{*backup})
	if err != nil {
		return fmt.Errorf("base undelete: %w", err)
	}
	return g.Print(rows[0], func(w io.Writer) {
		say(w, "base backup %s is back; it recovers to: %s", c.Label, reach(&rows[0]))
	})
}
