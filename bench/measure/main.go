//go:build linux

// Command measure measures gpdedup's binary beside what else does the same work on this machine, and writes tables and
// plots into docs/performance.md. It is what `make bench` runs:
//
//	make bench                                # ten minutes
//	make bench ARGS=--quick                   # two minutes, to see that it works; no document is changed
//	make bench ARGS='--only table --rounds 9' # one topic; the others' figures stay as they are
//	make bench ARGS=--redraw                  # tables and plots again, from the figures of the last run
//
// Machines are shared and no two are alike, so nothing here is an absolute speed: whatever is compared was taken in the
// same run, by turns (A B A B …), over several rounds. Medians count; the span from the least to the greatest says how
// far to trust them. What is measured is the built program. There is no exit code for a goal that is not met.
//
// All files lie in one temporary directory, and nothing of it is left, however the measurement ends (process.Place).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/machine"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/internal/section"
)

func main() {
	process.Main(roles)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	set, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(2)
	}
	err = run(ctx, set)
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "measure: interrupted; nothing is left behind")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// roles are what this program does in processes of its own.
var roles = map[string]func() error{"blake3": hashInput}

// bench is the place, the programs, and how much is to be done.
type bench struct {
	set      settings
	place    *process.Place
	exe      string // gpdedup
	programs []*contender.Program
	notes    []string // what is not there
	backups  int      // timestamps
}

// topic is one part of the measurement.
type topic struct {
	name    string
	title   string
	usual   bool // measured if nothing is said
	measure func(*bench, context.Context) (*results.Topic, error)
}

// topics are in the order in which they are measured.
var topics = []topic{
	{"table", "one table, changed all over", true, (*bench).table},
	{"append", "a table that grows at its end", true, (*bench).appendOnly},
	{"noise", "incompressible", true, (*bench).noise},
	{"small", "many small tables", true, (*bench).small},
	{"large", "one long stream", true, (*bench).large},
	{"days", "days of a table, and their check", true, (*bench).days},
	{"wal", "PostgreSQL's WAL", true, (*bench).wal},
	{"profile", "where the time goes", true, (*bench).profile},
	{"memory", "memory, with a large index", false, (*bench).memory},
	{"s3", "a bucket next to a directory", false, (*bench).buckets},
}

// run measures what is wanted, keeps it, and draws.
func run(ctx context.Context, set settings) error {
	// Before the long work: a document without sections is found out now.
	if set.update != "" {
		if err := section.Check(set.update, sections()...); err != nil {
			return err
		}
	}
	kept, err := results.Read(filepath.Join(set.plots, "bench.json"))
	if err != nil {
		return err
	}
	if set.redraw {
		return publish(set, kept)
	}
	if set.update == "" {
		kept.Topics = map[string]*results.Topic{} // what is printed is of this run
	}
	place, err := process.NewPlace(set.dir)
	if err != nil {
		return err
	}
	b := &bench{set: set, place: place}
	err = b.measure(ctx, kept)
	return errors.Join(err, place.Close())
}

func (b *bench) measure(ctx context.Context, kept *results.Results) (err error) {
	if b.exe, err = filepath.Abs(b.set.exe); err != nil {
		return err
	}
	if b.programs, b.notes, err = contender.Find(b.exe, b.set.peers); err != nil {
		return err
	}
	for _, note := range b.notes {
		progress("%s", note)
	}
	for _, t := range topics {
		if !slices.Contains(b.set.only, t.name) {
			continue
		}
		progress("%s: %s", t.name, t.title)
		found, err := t.measure(b, ctx)
		if err != nil {
			return fmt.Errorf("measure %s: %w", t.name, errors.Join(ctx.Err(), err))
		}
		if found == nil {
			continue
		}
		found.Taken = machine.Look(b.place.Dir)
		kept.Topics[t.name] = found
		// At once: what was measured is not lost to what fails later.
		if err := kept.Write(filepath.Join(b.set.plots, "bench.json")); err != nil {
			return err
		}
	}
	return publish(b.set, kept)
}

// newTopic is one that all programs take part in, so many rounds.
func (b *bench) newTopic(rounds int) *results.Topic {
	t := &results.Topic{Rounds: rounds, Notes: slices.Clone(b.notes)}
	for _, p := range b.programs {
		t.Programs = append(t.Programs, *p)
	}
	return t
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
