//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// wal has bench/wal measure the archive of a server's WAL, in a process of its own, which writes its own sections.
func (b *bench) wal(ctx context.Context) (*results.Topic, error) {
	programs := pgtest.Programs
	if bin := os.Getenv("PGBIN"); bin != "" {
		programs = bin
	}
	if _, err := os.Stat(filepath.Join(programs, "initdb")); err != nil {
		progress("  PostgreSQL is not installed: apt-get install postgresql-15")
		return nil, nil //nolint:nilerr // as is said
	}
	exe, figures := filepath.Join(b.place.Dir, "wal"), filepath.Join(b.place.Dir, "wal.json")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", exe, "./bench/wal").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build bench/wal: %w (run this in the module's root): %s", err, out)
	}
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	rounds := min(2, b.set.few())
	c := process.Command{
		Args: []string{exe, "--gpdedup", b.exe, "--segments", fmt.Sprint(b.set.segments), "--rounds", fmt.Sprint(rounds), "--json", figures, "--single", "12", "--levels", "1"},
		Dir:  root, Quiet: true, Out: os.Stdout,
	}
	if b.set.quick {
		c.Args = append(c.Args, "--only", "push,fetch")
	}
	if !slices.Contains(b.set.peers, "pgbackrest") {
		c.Args = append(c.Args, "--alone")
	}
	if b.set.update != "" {
		c.Args, c.Out = append(c.Args, "--update", b.set.update), nil
	}
	// It builds a program, with the caches that there are.
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOFLAGS"} {
		value, err := exec.CommandContext(ctx, "go", "env", name).Output()
		if err != nil {
			return nil, fmt.Errorf("ask go for %s: %w", name, err)
		}
		c.Env = append(c.Env, name+"="+strings.TrimSpace(string(value)))
	}
	if _, err := b.place.Run(ctx, c); err != nil {
		return nil, err
	}
	found, err := results.Read(figures)
	if err != nil {
		return nil, err
	}
	t := found.Topics["wal"]
	if t == nil {
		return nil, fmt.Errorf("%s has no figures", figures)
	}
	t.Rounds, t.Programs = rounds, b.newTopic(0).Programs[:1]
	if _, err := exec.LookPath("pgbackrest"); err != nil {
		t.Notes = append(t.Notes, "pgBackRest is not installed: Debian has it, apt-get install pgbackrest")
	}
	return t, nil
}
