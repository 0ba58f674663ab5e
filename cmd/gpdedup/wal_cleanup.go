package main

import (
	"fmt"
	"io"
	"time"

	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/base"
)

// WalCleanupCmd is gpdedup wal cleanup.
type WalCleanupCmd struct {
	File      string `arg:"" optional:"" help:"The first file that is still needed: what the server puts in place of %r, a segment, or a .backup file."`
	Standby   string `name:"standby" placeholder:"NAME" help:"Record that this standby needs everything from FILE on; what others need is kept too."`
	Forget    bool   `name:"forget" help:"With --standby and no FILE: the standby is no more, and needs nothing."`
	Exclusive bool   `name:"exclusive" xor:"mode" help:"Remove everything before FILE, whoever else may need it, like pg_archivecleanup: for an archive that serves one standby only."`
	DryRun    bool   `name:"dry-run" short:"n" help:"Change nothing, only report."`
}

// Help shows examples.
func (WalCleanupCmd) Help() string {
	return `Removes segments from the archive that nobody needs any more. What is kept is everything
from FILE on, from the mark of any standby on, and from the start of any base backup on
that the archive has a .backup file of. Given a .backup file, base backups before that
one no longer count. Histories are never removed.

The cluster is that of --pgdata or of the working directory, or the only one there is.

On a standby, in postgresql.conf:

	archive_cleanup_command = 'gpdedup wal cleanup --cluster main --standby s1 %r'
	recovery_end_command = 'gpdedup wal cleanup --cluster main --standby s1 --forget'

By hand, when base backups before that one have been removed:

	gpdedup wal cleanup --cluster main --dry-run 000000010000000000000037.00000028.backup
	gpdedup wal cleanup --cluster main 000000010000000000000037.00000028.backup
`
}

// noFile is what the server puts in place of %r while nothing may be removed.
const noFile = "000000000000000000000000"

// Run removes WAL that nobody needs.
func (c *WalCleanupCmd) Run(g *Globals, w *WalCmd) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.File == noFile {
		return nil
	}
	if err := c.clean(g, w); err != nil {
		return fmt.Errorf("wal cleanup: %w", err)
	}
	return nil
}

func (c *WalCleanupCmd) check() error {
	switch {
	case c.Forget && (c.Standby == "" || c.File != "" || c.Exclusive):
		return usageError("wal cleanup: --forget goes with --standby, and without a file", "gpdedup wal cleanup --help")
	case !c.Forget && c.File == "":
		return usageError("wal cleanup: no file is given", "in archive_cleanup_command, give %r")
	case c.Exclusive && c.Standby != "":
		return usageError("wal cleanup: both --exclusive and --standby are given", "--exclusive is for an archive that serves one standby only; it needs no name")
	}
	return nil
}

func (c *WalCleanupCmd) clean(g *Globals, w *WalCmd) error {
	var from wal.Name
	if !c.Forget {
		var err error
		if from, err = wal.ParseName(c.File); err != nil {
			return err
		}
		if from.Kind == wal.History {
			return usageError(c.File+" says nothing about segments", "give a segment or a .backup file")
		}
	}
	r, a, err := w.openWAL(g, "write")
	if err != nil {
		return err
	}
	defer r.Close()
	epoch, err := w.epoch(g, a)
	if err != nil {
		return err
	}
	if c.Forget {
		return c.forget(g, a, epoch)
	}
	o := wal.CleanupOptions{From: from, Standby: c.Standby, Exclusive: c.Exclusive, DryRun: c.DryRun}
	if !c.Exclusive {
		if err := base.Needs(g.Context(), r, a, &o); err != nil {
			return err
		}
	}
	report, err := a.Cleanup(g.Context(), epoch, o, time.Now())
	if err != nil {
		return err
	}
	return g.Print(report, func(out io.Writer) {
		// A server that calls this at every restart point wants no line each time.
		if report.Removed == 0 && c.Standby != "" && !g.Verbose && !c.DryRun {
			return
		}
		verb := "removed"
		if c.DryRun {
			verb = "would remove"
		}
		say(out, "%s %s (%s) from before %s, which %s needs; %s left", verb, count(report.Removed, "file"),
			formatBytes(report.Bytes), report.From, report.KeptFor, count(report.Remaining, "segment"))
	})
}

func (c *WalCleanupCmd) forget(g *Globals, a *wal.Archive, epoch wal.SystemID) error {
	if c.DryRun {
		return nil
	}
	had, err := a.ForgetStandby(g.Context(), epoch, c.Standby)
	if err != nil {
		return err
	}
	return g.Print(map[string]any{"standby": c.Standby, "forgotten": had}, func(out io.Writer) {
		if had {
			say(out, "standby %s is forgotten", c.Standby)
		} else {
			say(out, "standby %s was not known", c.Standby)
		}
	})
}

// epoch returns the cluster that a command is about: that of the data directory, or
// the only one that the archive has.
func (w *WalCmd) epoch(g *Globals, a *wal.Archive) (wal.SystemID, error) {
	if dir := w.dataDir(); dir != "" {
		control, err := wal.ReadControl(dir)
		return control.System, err
	}
	return a.OnlyEpoch(g.Context())
}
