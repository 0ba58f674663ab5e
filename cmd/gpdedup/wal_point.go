package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// WalPointCmd is gpdedup wal restore-point.
type WalPointCmd struct {
	Name string        `arg:"" help:"Name of the restore point."`
	Wait time.Duration `name:"wait" default:"60s" placeholder:"TIME" help:"How long to wait for the WAL that it needs."`
}

// Help shows examples.
func (WalPointCmd) Help() string {
	return `Records a restore point of a Greenplum or Cloudberry cluster: a name, and where each
content's WAL has it. It is recorded only when the WAL up to there is archived for every
content, so one that 'gpdedup wal list' shows can be recovered to. The contents and
addresses are read from standard input.

Example:

	psql -At -c "SELECT segment_id, restore_lsn FROM gp_create_restore_point('monday')" postgres >points
	psql -c "SELECT gp_switch_wal()" postgres
	gpdedup wal restore-point --cluster prod monday <points

Recovery is then, on every segment, recovery_target_name = 'monday'.
`
}

// Run records a restore point.
func (c *WalPointCmd) Run(g *Globals, _ *WalCmd) error {
	in, err := plugin.NewInput(g.Context(), plugin.Stdin)
	if err != nil {
		return fmt.Errorf("wal restore-point: %w", err)
	}
	defer in.Close()
	points, err := wal.ParsePoints(in)
	if err != nil {
		return fmt.Errorf("wal restore-point: %w", err)
	}
	g.CacheDir = ""
	r, err := g.Open("write")
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeoutCause(g.Context(), c.Wait, fmt.Errorf("not archived within %s (--wait)", c.Wait))
	defer cancel()
	for i := range points {
		if err := locate(ctx, r, g.Namespace, &points[i]); err != nil {
			return fmt.Errorf("wal restore-point: %w", err)
		}
	}
	p := wal.RestorePoint{Name: c.Name, Time: time.Now().UTC().Truncate(time.Second), Points: points}
	if err := wal.PutRestorePoint(g.Context(), r, g.Namespace, p); err != nil {
		return fmt.Errorf("wal restore-point: %w", err)
	}
	return g.Print(p, func(w io.Writer) {
		say(w, "restore point %s is recorded for %s", p.Name, count(len(points), "content"))
	})
}

// locate waits until the segment that holds the point is archived.
func locate(ctx context.Context, r *repo.Repo, namespace string, p *wal.Point) error {
	a, err := wal.Open(r, namespace, p.Content)
	if err != nil {
		return err
	}
	for {
		err := a.Locate(ctx, p)
		if !errors.Is(err, wal.ErrAbsent) {
			return err
		}
		select {
		case <-ctx.Done():
			return repo.WithHint(fmt.Errorf("%w: %w", err, context.Cause(ctx)), "SELECT gp_switch_wal() makes the servers archive it; does archive_command work everywhere?")
		case <-time.After(time.Second):
		}
	}
}
