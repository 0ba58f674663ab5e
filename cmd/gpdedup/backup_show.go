package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// BackupShowCmd is gpdedup backup show.
type BackupShowCmd struct {
	Timestamp string `arg:"" help:"The backup's timestamp, 14 digits."`
	Streams   bool   `help:"List every stream, too."`
}

// Help shows examples.
func (BackupShowCmd) Help() string {
	return "Examples:\n\n\tgpdedup backup show 20261121213355\n\tgpdedup backup show 20261121213355 --streams --json\n"
}

// Run shows a backup.
func (c *BackupShowCmd) Run(g *Globals) error {
	if err := checkTimestamps("show backup", c.Timestamp); err != nil {
		return err
	}
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	d, err := backups.Show(g.Context(), r, g.Namespace, c.Timestamp)
	if errors.Is(err, repo.ErrNoStream) {
		return fmt.Errorf("show backup: %w", noBackup(c.Timestamp, g.Namespace))
	}
	if err != nil {
		return err
	}
	if !c.Streams {
		d.StreamInfos = nil
	}
	return g.Print(d, func(w io.Writer) { printDetail(w, d) })
}

func printDetail(w io.Writer, d *backups.Detail) {
	t := newTable(w)
	row := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", name, oneLine(value))
		}
	}
	row("timestamp", d.Timestamp)
	row("namespace", d.Namespace)
	status := d.Status.String()
	if d.Reason != "" {
		status += ": " + d.Reason
	}
	row("status", status)
	row("database", d.Database)
	row("type", backupType(&d.Summary))
	for _, link := range d.Chain {
		row("  builds on", fmt.Sprintf("%s (%s)", link.Timestamp, link.Status))
	}
	if d.Segments > 0 {
		row("segments", fmt.Sprint(d.Segments))
	}
	row("tables", fmt.Sprint(d.Tables))
	streams := fmt.Sprint(d.Streams)
	if d.SingleDataFile {
		streams += ", a single data file for each segment"
	}
	row("streams", streams)
	row("compression", d.Compression)
	if d.Bytes != nil {
		row("size", fmt.Sprintf("%s (%d bytes)", formatBytes(*d.Bytes), *d.Bytes))
		row("new", fmt.Sprintf("%s (%d bytes), %s less", formatBytes(*d.NewBytes), *d.NewBytes, formatRatio(*d.Bytes, *d.NewBytes)))
	}
	row("first stored", formatTime(d.FirstStored))
	row("last stored", formatTime(d.LastStored))
	row("duration", d.Duration().Round(time.Second).String())
	row("hosts", strings.Join(d.Hosts, ", "))
	row("gpbackup", d.GpbackupVersion)
	row("server", d.DatabaseVersion)
	row("plugin", strings.TrimSpace(d.Plugin+" "+d.PluginVersion))
	if d.Checkpoints > 0 {
		row("checkpoints", fmt.Sprintf("%d left over", d.Checkpoints))
	}
	for _, name := range d.Missing {
		row("missing", name)
	}
	if more := d.MissingStreams - len(d.Missing); more > 0 {
		row("missing", fmt.Sprintf("and %d more", more))
	}
	for _, note := range d.Notes {
		row("note", note)
	}
	t.Flush() //nolint:errcheck // w is a buffer
	if d.StreamInfos != nil {
		_, _ = fmt.Fprintln(w)
		printStreams(w, d.StreamInfos)
	}
}

func printStreams(w io.Writer, streams []backups.Stream) {
	t := newTable(w)
	defer t.Flush() //nolint:errcheck // w is a buffer
	_, _ = fmt.Fprintln(t, "STREAM\tTABLE\tSIZE\tNEW\tHOST")
	for _, s := range streams {
		last := orDash(s.Host)
		if s.Problem != "" {
			last = "damaged: " + oneLine(s.Problem)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", oneLine(s.Name), orDash(s.Table), bytesOrDash(s.Bytes), bytesOrDash(s.NewBytes), last)
	}
}
