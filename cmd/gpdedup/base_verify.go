package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/base"
)

// BaseVerifyCmd is gpdedup base verify.
type BaseVerifyCmd struct {
	Label string `arg:"" optional:"" help:"Label of the backup; the newest if none is given."`
	All   bool   `name:"all" help:"Verify all backups."`
}

// Help shows examples.
func (BaseVerifyCmd) Help() string {
	return `Reads every byte, compares every file with the server's own backup_manifest, and reads
the WAL that makes the backup consistent. The exit code is 4 if anything is damaged or
missing.

Examples:

	gpdedup base verify --cluster main
	gpdedup base verify --cluster main 20261122T020000Z
	gpdedup base verify --cluster main --all --json
`
}

type baseVerifyRow struct {
	Label   string `json:"label"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
	Files   int    `json:"files"`
	Bytes   uint64 `json:"bytes"`
	WAL     int    `json:"wal_segments"` // that were read
}

// Run verifies base backups.
func (c *BaseVerifyCmd) Run(g *Globals, b *BaseCmd) error {
	if c.All && c.Label != "" {
		return usageError("base verify: both a label and --all are given", "gpdedup base verify --help")
	}
	r, a, err := b.open(g, "read")
	if err != nil {
		return err
	}
	defer r.Close()
	list, err := c.list(g, b, r, a)
	if err != nil {
		return fmt.Errorf("base verify: %w", err)
	}
	rows, bad := []baseVerifyRow{}, 0
	for i := range list {
		row, err := verifyBase(g, r, a, &list[i])
		if err != nil {
			return fmt.Errorf("base verify: %w", err)
		}
		if !row.OK {
			bad++
		}
		rows = append(rows, row)
	}
	g.metrics.Set(metrics.VerifyProblems, float64(bad))
	err = g.Print(rows, func(w io.Writer) {
		for _, r := range rows {
			if r.OK {
				say(w, "verified base backup %s: %s, %s, %s of WAL", r.Label, count(r.Files, "file"), formatBytes(r.Bytes), count(r.WAL, "segment"))
			} else {
				say(w, "base backup %s: %s", r.Label, r.Problem)
			}
		}
	})
	if err == nil && bad > 0 {
		err = repo.WithHint(fmt.Errorf("base verify: %w: %s cannot be restored", repo.ErrDamaged, count(bad, "base backup")),
			"'gpdedup repo check --read-data' names damaged objects; the next base push stores what is lost again")
	}
	return err
}

func (c *BaseVerifyCmd) list(g *Globals, b *BaseCmd, r *repo.Repo, a *wal.Archive) ([]base.Backup, error) {
	if c.All {
		return base.List(g.Context(), r, a, false)
	}
	backup, err := b.backup(g.Context(), r, a, c.Label)
	if err != nil {
		return nil, err
	}
	return []base.Backup{*backup}, nil
}

// verifyBase returns an error only if something stands in the way of the verification.
func verifyBase(g *Globals, r *repo.Repo, a *wal.Archive, backup *base.Backup) (baseVerifyRow, error) {
	row := baseVerifyRow{Label: backup.Name.Item}
	err := backup.Err
	if err == nil {
		row.Files, row.Bytes = backup.Info.Files, backup.Manifest.Length
		update, done := g.Progress("verifying "+row.Label, int64(backup.Manifest.Length))
		err = base.Verify(g.Context(), r, backup, update)
		done()
	}
	if err == nil {
		row.WAL, err = base.VerifyWAL(g.Context(), a, backup.Info)
	}
	if err != nil && (g.Context().Err() != nil || !errors.Is(err, repo.ErrDamaged) && !errors.Is(err, repo.ErrNewer) && !errors.Is(err, wal.ErrAbsent)) {
		return row, err
	}
	if row.OK = err == nil; row.OK {
		g.metrics.Restored(1, row.Bytes)
	}
	if err != nil {
		row.Problem = err.Error()
	}
	return row, nil
}
