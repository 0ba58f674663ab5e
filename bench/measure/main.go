//go:build linux

// Command measure measures gpdedup's binary against what else does the same work on this machine, and writes the figures
// as a section for docs/performance.md:
//
//	go run ./bench/measure                                 # to standard output, some five minutes
//	go run ./bench/measure --update docs/performance.md    # in place of the section that is there
//	go run ./bench/measure --big --peers                   # all of it, ten to fifteen minutes
//
// Machines are shared and no two are alike, so nothing here is an absolute speed: every time is compared with one that
// was taken in the same run, by turns (A B A B …), over several rounds. Medians count; the span from the least to the
// greatest says how far to trust them. What is measured is the built program, called as gpbackup calls it. There is no
// exit code for a goal that is not met.
//
// All files lie in one temporary directory, which is removed at the end and on SIGINT and SIGTERM.
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
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// settings are the command line's.
type settings struct {
	exe         string // gpdedup
	output      string
	update      string
	dir         string // for the temporary directory
	only        []string
	rounds      int
	smallRounds int
	rows        int // of the table that speed is measured with
	bigBytes    int64
	indexChunks int
	peers       bool
}

const (
	mega = 1_000_000
	giga = 1_000_000_000
)

// topics are what --only chooses from, in the order of the report.
var topics = []string{"small", "memory", "speed", "s3"}

// usual are those that are measured if nothing is said. A bucket has a section of its own.
var usual = []string{"small", "memory", "speed"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
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

func parse(args []string) (settings, error) {
	var set settings
	f := flag.NewFlagSet("measure", flag.ContinueOnError)
	f.StringVar(&set.exe, "gpdedup", "", "the program to measure; built from ./cmd/gpdedup if nothing is said")
	f.StringVar(&set.output, "output", "", "file for the section; standard output if nothing is said")
	f.StringVar(&set.update, "update", "", "Markdown file whose section between the markers is replaced")
	f.StringVar(&set.dir, "dir", "", "where the temporary directory is made: the file system that is measured")
	only := f.String("only", strings.Join(usual, ","), "what to measure; s3, a bucket next to a directory, has a section of its own")
	f.IntVar(&set.rounds, "rounds", 5, "how often each thing is measured")
	f.IntVar(&set.smallRounds, "small-rounds", 40, "the same for streams of 1 KB")
	f.IntVar(&set.rows, "rows", 1_500_000, "rows of the table that speed is measured with; 155 bytes each")
	big := f.Bool("big", false, "streams of 10 GB, an index of 10 million chunks")
	f.Int64Var(&set.bigBytes, "big-bytes", 0, "length of the long stream; 1 GB, with --big 10 GB, if nothing is said")
	f.IntVar(&set.indexChunks, "index-chunks", 0, "chunks in the large index; 1 million, with --big 10 million, if nothing is said")
	f.BoolVar(&set.peers, "peers", false, "install restic and borgbackup (Debian packages) if they are not there")
	if err := f.Parse(args); err != nil {
		return set, err
	}
	size, chunks := int64(giga), 1_000_000
	if *big {
		size, chunks = 10*giga, 10_000_000
	}
	if set.bigBytes == 0 {
		set.bigBytes = size
	}
	if set.indexChunks == 0 {
		set.indexChunks = chunks
	}
	set.only = strings.Split(*only, ",")
	for _, topic := range set.only {
		if !slices.Contains(topics, topic) {
			return set, fmt.Errorf("measure %q: known are %s", topic, strings.Join(topics, ", "))
		}
	}
	if f.NArg() > 0 || set.rounds < 1 || set.smallRounds < 1 || set.rows < 1000 || set.bigBytes < mega || set.indexChunks < 1 {
		return set, errors.New("rounds, rows, bytes and chunks are positive, and there are no arguments")
	}
	if slices.Contains(set.only, "s3") && len(set.only) > 1 {
		return set, errors.New("s3 is measured alone: its section is another one")
	}
	if set.output != "" && set.update != "" {
		return set, errors.New("--output and --update exclude each other")
	}
	return set, nil
}

// section names the markers that the figures go between.
func (s *settings) section() string {
	if slices.Contains(s.only, "s3") {
		return "measure-s3"
	}
	return "measure"
}

// run measures everything and writes the section.
func run(ctx context.Context, set settings) (err error) {
	// Before the long work: a file without markers is found out now.
	if set.update != "" {
		if err := replaceSection(set.update, set.section(), nil); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(set.dir, "gpdedup-measure-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Children of a hook come to us when the hook has ended, so that none outlives the measurement.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	defer killOrphans()
	b, err := newBench(ctx, set, dir)
	if err != nil {
		return err
	}
	steps := map[string]func(context.Context) error{"small": b.small, "memory": b.memory, "speed": b.speed, "s3": b.buckets}
	for _, topic := range topics {
		if slices.Contains(set.only, topic) {
			if err := steps[topic](ctx); err != nil {
				return fmt.Errorf("measure %s: %w", topic, err)
			}
		}
	}
	return b.write()
}

// write puts the section where it is wanted.
func (b *bench) write() error {
	section := b.report.markdown(b.machine())
	switch {
	case b.set.update != "":
		return replaceSection(b.set.update, b.set.section(), section)
	case b.set.output != "":
		return os.WriteFile(filepath.Clean(b.set.output), section, 0o644)
	}
	_, err := os.Stdout.Write(section)
	return err
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
