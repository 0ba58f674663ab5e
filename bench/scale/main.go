//go:build linux

// Command scale measures how time and memory grow with what a repository holds: over four sizes each of a host's index,
// of the number of manifests, and of one stream. It writes its tables into sections of docs/performance.md:
//
//	go run ./bench/scale --gpdedup ./gpdedup                                    # three sizes of each, to standard output
//	go run ./bench/scale --gpdedup ./gpdedup --sizes 4 --update docs/performance.md
//
// The fourth sizes (100 million chunks, a million manifests, 100 GB) take 25 GB in the directory and half an hour or more.
// What is measured is the built program, but for the look-up and the merges: these are done by this program with the
// program's own package, as processes of their own.
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

	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/section"
)

// settings are the command line's.
type settings struct {
	exe    string // gpdedup
	update string
	dir    string
	only   []string
	sizes  int
	divide int // everything by this, for tests
}

// topics are what --only chooses from. Each has a section "scale-TOPIC".
var topics = []string{"index", "manifests", "streams"}

// maxSizes is how many sizes each topic has, each ten times the one before.
const maxSizes = 4

func main() {
	process.Main(nil)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		if err := child(ctx, os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "scale:", err)
			os.Exit(1)
		}
		return
	}
	set, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(2)
	}
	err = run(ctx, set)
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "scale: interrupted; nothing is left behind")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func parse(args []string) (set settings, err error) {
	set.divide = 1
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.StringVar(&set.exe, "gpdedup", "./gpdedup", "the program to measure")
	f.StringVar(&set.update, "update", "", "Markdown file whose sections between the markers are replaced")
	f.StringVar(&set.dir, "dir", "", "where the temporary directory is made: the file system that is measured")
	f.IntVar(&set.sizes, "sizes", maxSizes-1, "how many of the four sizes of each, from the smallest")
	only := f.String("only", strings.Join(topics, ","), "what to measure")
	if err := f.Parse(args); err != nil {
		return set, err
	}
	set.only = strings.Split(*only, ",")
	for _, topic := range set.only {
		if !slices.Contains(topics, topic) {
			return set, fmt.Errorf("measure %q: known are %s", topic, strings.Join(topics, ", "))
		}
	}
	if f.NArg() > 0 || set.sizes < 1 || set.sizes > maxSizes {
		return set, fmt.Errorf("sizes are 1 to %d, and there are no arguments", maxSizes)
	}
	set.exe, err = filepath.Abs(set.exe)
	return set, err
}

// run measures everything; a topic's section is written as soon as it is done.
func run(ctx context.Context, set settings) (err error) {
	if set.update != "" { // before the long work: a file without markers is found out now
		for _, topic := range set.only {
			if err := section.Check(set.update, "scale-"+topic); err != nil {
				return err
			}
		}
	}
	place, err := process.NewPlace(set.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	b := &bench{set: set, Place: place}
	steps := map[string]func(context.Context, *table, int) error{"index": b.index, "manifests": b.manifests, "streams": b.streams}
	for _, topic := range topics {
		if !slices.Contains(set.only, topic) {
			continue
		}
		t := &table{}
		for size := range set.sizes {
			if err := steps[topic](ctx, t, size); err != nil {
				return fmt.Errorf("measure %s: %w", topic, err)
			}
		}
		text := "\n" + t.markdown() + "\n" + taken() + "\n\n"
		if set.update == "" {
			_, err = os.Stdout.WriteString(text)
		} else {
			err = section.Replace(set.update, "scale-"+topic, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
