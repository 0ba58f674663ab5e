//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// settings are the command line's.
type settings struct {
	exe    string // gpdedup
	update string // the document; "": print
	plots  string // folder of the plots and of bench.json
	dir    string // for the temporary directory
	only   []string
	peers  []string
	redraw bool
	quick  bool

	profiles string // folder for the profiles; "": they are not kept

	rounds      int
	size        int64 // of the table's text, in bytes
	large       int64 // of the long stream
	tables      int   // small ones
	days        int
	segments    int // of WAL
	indexChunks int // of the large index
}

// few is how often something is measured whose rounds are long, or vary little.
func (s *settings) few() int { return (s.rounds + 1) / 2 }

// rowBytes is about how long a row of the table is.
const rowBytes = 157

func (s *settings) rows() int { return int(s.size / rowBytes) }

// peerNames are those that --peers chooses from: the contenders, and the tools that bound what is possible.
func peerNames() []string {
	return append(contender.Names()[1:], "pgbackrest", "zstd", "cp")
}

func parse(args []string) (settings, error) {
	var set settings
	f := flag.NewFlagSet("measure", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(os.Stderr, "Usage: measure [flags]\n\nMeasures gpdedup beside its peers and writes docs/performance.md. Topics:\n\n")
		for _, t := range topics {
			own := ""
			if !t.usual {
				own = "; only if --only names it"
			}
			fmt.Fprintf(os.Stderr, "  %-8s %s%s\n", t.name, t.title, own)
		}
		fmt.Fprintf(os.Stderr, "\nExample: measure --only table,small --rounds 3 --peers restic,zstd\n\nFlags:\n")
		f.PrintDefaults()
	}
	f.StringVar(&set.exe, "gpdedup", "./gpdedup", "the program to measure")
	f.StringVar(&set.update, "update", "docs/performance.md", "`document` whose sections are replaced, with plots in the folder plots beside it; with \"\", as with --quick, the text is printed, and plots go to build/bench")
	f.StringVar(&set.dir, "dir", "", "where the temporary directory is made: the file system that is measured")
	only := f.String("only", "", "what to measure: `topics`, separated by commas")
	peers := f.String("peers", strings.Join(peerNames(), ","), "which other programs to measure, if they are installed")
	f.IntVar(&set.rounds, "rounds", 5, "how often each thing is measured; half as often what takes long")
	text := f.String("size", "235MB", "of the table; the other workloads go by it")
	f.BoolVar(&set.quick, "quick", false, "a small table and few rounds, to see that all works; changes no document")
	large := f.Bool("large", false, "a table of 1 GB, a stream of 10 GB, an index of 10 million chunks")
	f.StringVar(&set.profiles, "profiles", "", "`folder` to keep the profiles in, for go tool pprof")
	f.BoolVar(&set.redraw, "redraw", false, "only write tables and plots again, of the figures in bench.json")
	if err := f.Parse(args); err != nil {
		return set, err
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	set.large, set.tables, set.days, set.segments, set.indexChunks = size.Giga, 1000, 10, 24, 1_000_000
	switch {
	case set.quick && *large:
		return set, errors.New("--quick and --large exclude each other")
	case set.quick:
		set.large, set.tables, set.days, set.segments, set.indexChunks = 64*size.Mega, 100, 4, 4, 100_000
		set.rounds = choose(given["rounds"], set.rounds, 2)
		*text = choose(given["size"], *text, "16MB")
		set.update = choose(given["update"], set.update, "")
	case *large:
		set.large, set.indexChunks = 10*size.Giga, 10_000_000
		*text = choose(given["size"], *text, "1GB")
	}
	var err error
	if set.size, err = size.Parse(*text); err != nil {
		return set, err
	}
	if set.size < size.Mega || set.rounds < 1 || f.NArg() > 0 {
		return set, errors.New("the size is at least 1MB, there is at least one round, and there are no arguments")
	}
	// A tiny run is tiny throughout.
	set.large, set.tables = min(set.large, 20*set.size), min(set.tables, max(4, int(set.size/100_000)))
	set.plots = "build/bench"
	if set.update != "" {
		set.plots = plotsBeside(set.update)
	}
	if set.only, err = split(*only, topicNames(false), topicNames(true)); err != nil {
		return set, fmt.Errorf("--only: %w", err)
	}
	if set.peers, err = split(*peers, peerNames(), nil); err != nil {
		return set, fmt.Errorf("--peers: %w", err)
	}
	return set, nil
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// split reads a list of known names. An empty one is what nothing means.
func split(list string, known, nothing []string) ([]string, error) {
	if list == "" {
		return nothing, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%q is not known: want %s", name, strings.Join(known, ", "))
		}
	}
	return names, nil
}

// topicNames are those of all topics, or of the usual.
func topicNames(usual bool) (names []string) {
	for _, t := range topics {
		if t.usual || !usual {
			names = append(names, t.name)
		}
	}
	return names
}
