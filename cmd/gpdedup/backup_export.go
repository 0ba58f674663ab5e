package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// BackupExportCmd is gpdedup backup export.
type BackupExportCmd struct {
	Timestamp     string `arg:"" help:"The backup's timestamp, 14 digits."`
	Dir           string `required:"" placeholder:"DIR" help:"The directory to write below; made if it is missing."`
	SegmentPrefix string `name:"segment-prefix" placeholder:"PREFIX" help:"What the names of the segments' directories begin with; as in the cluster the backup came from if nothing is said."`
	Overwrite     bool   `help:"Replace what is in the directories of the timestamp."`
}

// Help shows examples.
func (BackupExportCmd) Help() string {
	return `Writes gpbackup's own directories, with all backups that an incremental one builds on:

	DIR/gpseg-1/backups/20261121/20261121213355/gpbackup_20261121213355_config.yaml
	DIR/gpseg0/backups/20261121/20261121213355/gpbackup_0_20261121213355_16402.gz

gprestore restores that with --backup-dir DIR, without the plugin. Each host needs the
directories of its own segments under the same DIR; the coordinator's host those of -1.
Run it as the user who runs gprestore: data files can be read by their owner only. The
configuration of the plugin is left out.

Every byte is verified before it is written. A damaged stream is left out and named,
and the exit code is 4.

Examples:

	gpdedup backup export 20261121213355 --dir /mnt/restore
	gprestore --backup-dir /mnt/restore --timestamp 20261121213355
`
}

// Run exports a backup.
func (c *BackupExportCmd) Run(g *Globals) error {
	if err := checkTimestamps("export backup", c.Timestamp); err != nil {
		return err
	}
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	update, done := g.lateProgress("exporting "+c.Timestamp, size.Format)
	report, err := backups.Export(g.Context(), r, g.Namespace, c.Timestamp, c.Dir, backups.ExportOptions{
		SegmentPrefix: c.SegmentPrefix, Overwrite: c.Overwrite, Progress: update,
	})
	done()
	if errors.Is(err, repo.ErrNoStream) {
		return fmt.Errorf("export backup: %w", noBackup(c.Timestamp, g.Namespace))
	}
	if err != nil {
		return err
	}
	g.metrics.Restored(report.Files, report.Bytes)
	err = g.Print(report, func(w io.Writer) {
		printProblems(w, report.Problems)
		for _, ts := range report.Exported {
			_, _ = fmt.Fprintf(w, "exported %s\n", ts)
		}
		_, _ = fmt.Fprintf(w, "wrote %s, %s, below %s\n", count(report.Files, "file"), formatBytes(report.Bytes), report.Directory)
		if report.OK {
			_, _ = fmt.Fprintf(w, "restore it with: gprestore --backup-dir %s --timestamp %s\n", report.Directory, c.Timestamp)
		}
	})
	if err != nil {
		return err
	}
	return problemsError("export backup", c.Timestamp, report.Problems)
}
