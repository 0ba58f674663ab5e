package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// BackupGetCmd is gpdedup backup get.
type BackupGetCmd struct {
	Timestamp string `arg:"" help:"The backup's timestamp, 14 digits."`
	Name      string `arg:"" help:"The stream: the name of gpbackup's file."`
	Output    string `short:"o" placeholder:"FILE" help:"Write to this file instead, which appears, or is replaced, only when all is written."`
	Force     bool   `help:"Write to standard output even if it is a terminal."`
}

// Help shows examples.
func (BackupGetCmd) Help() string {
	return `Every byte is verified before it goes out. When something is damaged, what comes out
ends before the damage, and the exit code is 4. What gpbackup had compressed is
compressed.

Examples:

	gpdedup backup get 20261121213355 gpbackup_20261121213355_report --force
	gpdedup backup get 20261121213355 gpbackup_0_20261121213355_16402.gz | gzip -d >table.csv
	gpdedup backup get 20261121213355 gpbackup_20261121213355_metadata.sql --output metadata.sql
`
}

type backupGetReport struct {
	Namespace string `json:"namespace"`
	Timestamp string `json:"timestamp"`
	Name      string `json:"name"`
	Output    string `json:"output"`
	Bytes     int64  `json:"bytes"` // of the file
}

// Run writes the stream out.
func (c *BackupGetCmd) Run(g *Globals) error {
	if err := checkTimestamps("get stream", c.Timestamp); err != nil {
		return err
	}
	if c.Output != "" {
		return c.toFile(g)
	}
	if err := c.toStdout(g); err != nil {
		// Whoever reads our output should see its end before our complaint.
		if out, ok := g.Stdout().(io.Closer); ok {
			out.Close() //nolint:errcheck // it has failed already
		}
		return err
	}
	return nil
}

func (c *BackupGetCmd) toStdout(g *Globals) error {
	if err := checkStdout(g, c.Force); err != nil {
		return err
	}
	return c.write(g, g.Stdout())
}

func (c *BackupGetCmd) write(g *Globals, out io.Writer) error {
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	err = backups.Get(g.Context(), r, g.Namespace, c.Timestamp, c.Name, out)
	switch {
	case errors.Is(err, repo.ErrNoStream):
		return repo.WithHint(err, "gpdedup backup show "+c.Timestamp+" --streams")
	case errors.Is(err, repo.ErrDeleted):
		return repo.WithHint(err, "gpdedup backup undelete "+c.Timestamp)
	}
	return err
}

// toFile writes the stream to the file that is asked for.
func (c *BackupGetCmd) toFile(g *Globals) error {
	file, err := replace("get stream", c.Output, "write to standard output instead")
	if err != nil {
		return err
	}
	size, err := file.write(func(out io.Writer) error { return c.write(g, out) })
	if err != nil {
		return err
	}
	report := backupGetReport{Namespace: g.Namespace, Timestamp: c.Timestamp, Name: c.Name, Output: c.Output, Bytes: size}
	return g.Print(report, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "wrote %s to %s: %s\n", oneLine(c.Name), c.Output, formatBytes(size))
	})
}
