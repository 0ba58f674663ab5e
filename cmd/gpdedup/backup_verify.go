package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// BackupVerifyCmd is gpdedup backup verify.
type BackupVerifyCmd struct {
	Timestamp string `arg:"" help:"The backup's timestamp, 14 digits."`
	Chain     bool   `help:"Verify also all backups that an incremental one builds on."`
}

// Help shows examples.
func (BackupVerifyCmd) Help() string {
	return `The exit code is 0 only if every stream that the backup needs is there and every byte
of it was read and is what was stored; it is 4 if not. What is printed names every
damaged and every missing stream.

Examples:

	gpdedup backup verify 20261121213355
	gpdedup backup verify 20261121213355 --chain --json
`
}

// Run verifies a backup.
func (c *BackupVerifyCmd) Run(g *Globals) error {
	if err := checkTimestamps("verify backup", c.Timestamp); err != nil {
		return err
	}
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	update, done := g.lateProgress("verifying "+c.Timestamp, size.Format)
	report, err := backups.Verify(g.Context(), r, g.Namespace, c.Timestamp, backups.VerifyOptions{Chain: c.Chain, Progress: update})
	done()
	if errors.Is(err, repo.ErrNoStream) {
		return fmt.Errorf("verify backup: %w", noBackup(c.Timestamp, g.Namespace))
	}
	if err != nil {
		return err
	}
	g.metrics.Restored(report.Streams, report.Bytes)
	g.metrics.Set(metrics.VerifyProblems, float64(len(report.Problems)))
	err = g.Print(report, func(w io.Writer) {
		printProblems(w, report.Problems)
		if report.OK {
			_, _ = fmt.Fprintf(w, "verified %s: %s, %s\n", c.Timestamp, count(report.Streams, "stream"), formatBytes(report.Bytes))
		}
	})
	if err != nil {
		return err
	}
	return problemsError("verify backup", c.Timestamp, report.Problems)
}

func printProblems(w io.Writer, problems []backups.Problem) {
	for _, p := range problems {
		what := string(p.Kind)
		if p.Kind == backups.BadStatus {
			what = "not complete"
		}
		_, _ = fmt.Fprintf(w, "%s: %s\n", what, oneLine(p.String()))
	}
}
