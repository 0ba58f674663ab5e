package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// WalCheckCmd is gpdedup wal check.
type WalCheckCmd struct {
	Psql    string        `name:"psql" default:"psql -d postgres" placeholder:"COMMAND" help:"How to reach the server, as a role that may call pg_switch_wal; PGHOST, PGPORT and so on count too."`
	Timeout time.Duration `name:"timeout" default:"90s" placeholder:"TIME" help:"How long to wait for the segment."`
}

// Help shows examples.
func (WalCheckCmd) Help() string {
	return `Has the running server end its current WAL segment, waits for archive_command to store
it, reads it back and compares it with the server's own. It is the proof that the whole
way works, and how long it takes.

Examples:

	gpdedup wal check --cluster main
	gpdedup wal check --cluster main --psql 'psql -h /tmp -p 5433 -U postgres -d postgres'
`
}

// Run checks the way of a segment into the archive.
func (c *WalCheckCmd) Run(g *Globals, w *WalCmd) error {
	r, a, err := w.openWAL(g, "read")
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeoutCause(g.Context(), c.Timeout, fmt.Errorf("waited %s (--timeout)", c.Timeout))
	defer cancel()
	report, err := a.Check(ctx, psqlServer{c.Psql})
	if err != nil {
		return fmt.Errorf("wal check: %w", err)
	}
	return g.Print(report, func(out io.Writer) {
		compared := "and what was stored is what the server has"
		if !report.Compared {
			compared = "and it reads back whole; the server's own copy was not there to compare it with"
		}
		say(out, "%s was archived within %.1f s, takes %s, %s", report.File, report.Seconds, formatBytes(report.Stored), compared)
	})
}

// psqlServer is a server that psql reaches.
type psqlServer struct{ command string }

// query returns the fields of the one row that the statement gives.
func (s psqlServer) query(ctx context.Context, statement string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", s.command+` -X -q -A -t -F "$1" -v ON_ERROR_STOP=1 -c "$2"`, "sh", "\x1f", statement)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		if text := strings.TrimSpace(said.String()); text != "" {
			err = errors.New(text)
		}
		return nil, repo.WithHint(fmt.Errorf("ask the server: %w", err), "say with --psql how to reach it; it must run on this host or be reachable from it")
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\x1f"), nil
}

// Settings is of wal.Server, as are the next.
func (s psqlServer) Settings(ctx context.Context) (mode, command string, err error) {
	row, err := s.query(ctx, "SELECT current_setting('archive_mode'), current_setting('archive_command')")
	if err == nil && len(row) != 2 {
		err = fmt.Errorf("ask the server: %d settings", len(row))
	}
	if err != nil {
		return "", "", err
	}
	return row[0], row[1], nil
}

func (s psqlServer) DataDirectory(ctx context.Context) (string, wal.SystemID, error) {
	row, err := s.query(ctx, "SELECT current_setting('data_directory'), system_identifier FROM pg_control_system()")
	if err != nil {
		return "", 0, err
	}
	if len(row) != 2 {
		return "", 0, fmt.Errorf("ask the server: %d fields", len(row))
	}
	// A bigint in SQL, although it has no sign.
	id, err := strconv.ParseInt(row[1], 10, 64)
	return row[0], wal.SystemID(id), err
}

func (s psqlServer) SwitchWAL(ctx context.Context) (string, error) {
	// Something is written first: the server does not end a segment that is empty.
	row, err := s.query(ctx, "SELECT pg_walfile_name(pg_create_restore_point('gpdedup wal check'))")
	if err == nil {
		_, err = s.query(ctx, "SELECT pg_switch_wal()")
	}
	if err != nil {
		return "", err
	}
	return row[0], nil
}

func (s psqlServer) LastFailure(ctx context.Context) (string, error) {
	row, err := s.query(ctx, "SELECT coalesce(last_failed_wal, '') FROM pg_stat_archiver "+
		"WHERE last_failed_time > coalesce(last_archived_time, '-infinity')")
	if err != nil || len(row) == 0 {
		return "", err
	}
	return row[0], nil
}
