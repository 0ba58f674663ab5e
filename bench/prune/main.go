//go:build linux

// Command prune measures what it costs to delete two of five daily backups of a table
// and to get their space back, by gpdedup and, where they are installed, by restic and
// borg, on the same data in the same run; and how that grows with ten times the data.
//
//	go run ./bench/prune --gpdedup ./gpdedup --update docs/performance.md
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
	"strconv"
	"strings"
	"syscall"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/section"
	"github.com/gpdedup/gpdedup/bench/internal/size"
	"github.com/gpdedup/gpdedup/bench/tablegen"
)

const days = 5

// The days that are deleted: one that others build on, and one in between.
var deleted = []int{0, 2}

func main() {
	process.Main(nil)
	program := flag.String("gpdedup", "./gpdedup", "the program to measure")
	rows := flag.Int("rows", 300_000, "rows of the small table, about 157 bytes each; the large one has ten times as many")
	scale := flag.Int("scale", 10, "how many times as many rows the large table has; 1: only the small one")
	dir := flag.String("dir", "", "where to work; default: a temporary directory")
	document := flag.String("update", "", "the document whose section between the markers is replaced")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	text, err := run(ctx, *program, *dir, *rows, *scale)
	if err == nil && *document != "" {
		err = section.Replace(*document, "prune", text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prune:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

// figures are what one program took for one table.
type figures struct {
	stored, left int64 // bytes of the repository before and after
	prune        process.Usage
	again        process.Usage // a second prune, with nothing to do
	fresh        int64         // bytes of a repository that never had the deleted days
}

func run(ctx context.Context, program, dir string, rows, scale int) (text string, err error) {
	// What kopia finds too young stays, so that it has nothing to prune here.
	programs, missing, err := contender.Find(program, []string{"restic", "borg"})
	if err != nil {
		return "", err
	}
	for _, m := range missing {
		fmt.Fprintln(os.Stderr, m)
	}
	place, err := process.NewPlace(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	var b strings.Builder
	fmt.Fprintf(&b, "`go run ./bench/prune --gpdedup ./gpdedup --rows %d --scale %d`: five days of a table, 1.3 %% of its rows changed each\n"+
		"day; days 1 and 3 are deleted, then pruned, so that nothing unused is left (gpdedup: `repo prune --exclusive`; restic:\n"+
		"`prune --max-unused 0`; borg: `compact --threshold 0`).\n\n", rows, scale)
	fmt.Fprintf(&b, "| table | program | five days | after prune | never had them | prune | processor time | again | peak memory |\n|---|---|---|---|---|---|---|---|---|\n")
	sizes := []int{rows, rows * scale}
	for _, n := range slices.Compact(sizes) {
		tables, err := makeDays(filepath.Join(place.Dir, strconv.Itoa(n)), n)
		if err != nil {
			return "", err
		}
		length, err := os.Stat(tables[0])
		if err != nil {
			return "", err
		}
		for _, p := range programs {
			fmt.Fprintf(os.Stderr, "%s, %d rows\n", p.Name, n)
			f, err := measure(ctx, place, p, tables)
			if err != nil {
				return "", fmt.Errorf("%s: %w", p.Name, err)
			}
			mb := func(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/size.Mega) }
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %.2f s | %.2f s | %.2f s | %.0f MiB |\n", size.Format(length.Size()), p.Name,
				mb(f.stored), mb(f.left), mb(f.fresh), f.prune.Wall.Seconds(), f.prune.CPU.Seconds(), f.again.Wall.Seconds(), float64(f.prune.Peak)/size.Mebi)
		}
	}
	return b.String(), nil
}

func makeDays(dir string, rows int) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	table := tablegen.New(tablegen.Heap, 1, rows)
	for d := range days {
		if d > 0 {
			table.NextDay(tablegen.Daily(tablegen.Heap))
		}
		file := filepath.Join(dir, "day"+strconv.Itoa(d))
		f, err := os.Create(filepath.Clean(file))
		if err != nil {
			return nil, err
		}
		_, err = table.WriteTo(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// keep stores the days that are wanted in a repository of their own.
func keep(ctx context.Context, place *process.Place, p *contender.Program, tables []string, wanted func(day int) bool) (*contender.Store, int64, error) {
	s, err := p.Open(ctx, place)
	if err != nil {
		return nil, 0, err
	}
	for d, file := range tables {
		if !wanted(d) {
			continue
		}
		if _, err := s.Put(ctx, tag(d), contender.Input{File: file}); err != nil {
			return nil, 0, errors.Join(err, s.Close())
		}
	}
	n, err := s.Size()
	return s, n, err
}

func tag(day int) string { return "day" + strconv.Itoa(day) }

func measure(ctx context.Context, place *process.Place, p *contender.Program, tables []string) (f figures, err error) {
	s, stored, err := keep(ctx, place, p, tables, func(int) bool { return true })
	if err != nil {
		return f, err
	}
	f.stored = stored
	for _, d := range deleted {
		if _, err := s.Forget(ctx, tag(d)); err != nil {
			return f, err
		}
	}
	if f.prune, err = s.Prune(ctx); err != nil {
		return f, err
	}
	if f.left, err = s.Size(); err != nil {
		return f, err
	}
	if f.again, err = s.Prune(ctx); err != nil {
		return f, err
	}
	if _, err := s.Check(ctx, true); err != nil {
		return f, err
	}
	if err := s.Close(); err != nil {
		return f, err
	}
	fresh, n, err := keep(ctx, place, p, tables, func(day int) bool { return !slices.Contains(deleted, day) })
	if err != nil {
		return f, err
	}
	f.fresh = n
	return f, fresh.Close()
}
