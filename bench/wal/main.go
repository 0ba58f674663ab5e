// Command wal measures the archive of a real PostgreSQL server's WAL: files pushed and
// fetched, bytes stored, and how long a server takes to recover with restore_command,
// beside cp, and beside pgBackRest where it is installed.
//
//	go run ./bench/wal --gpdedup ./gpdedup --update docs/performance.md
//
// The WAL is made on the spot by pgbench. Programs are run in turn, so that whatever
// else the machine does is shared between them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/machine"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/internal/section"
)

func main() {
	process.Main(nil)
	gpdedup := flag.String("gpdedup", "./gpdedup", "the program to measure")
	segments := flag.Int("segments", 200, "segments of WAL, of 16 MiB each")
	rounds := flag.Int("rounds", 3, "how often each is measured; what is reported is the median")
	only := flag.String("only", "", "sections to measure, separated by commas; default: all, which are "+strings.Join(sectionNames(), ","))
	update := flag.String("update", "", "the document whose sections between the wal markers are replaced")
	figures := flag.String("json", "", "file for the figures, as bench/measure reads them")
	single := flag.Int("single", 40, "of the segments, how many are pushed one by one")
	levels := flag.String("levels", "1,3", "levels of zst that pgBackRest pushes with, separated by commas: 1 is the quickest, 3 its default")
	alone := flag.Bool("alone", false, "leave pgBackRest out")
	flag.Parse()
	s := settings{*gpdedup, *segments, *rounds, *only, *update, *figures, *single, strings.Split(*levels, ","), *alone}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "wal:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	gpdedup                 string
	segments, rounds        int
	only, document, figures string
	single                  int
	levels                  []string
	alone                   bool
}

// part is a part of the report, measured by itself. In the document it lies between
// markers of its name, so that it can be measured anew alone.
type part struct {
	name    string
	measure func(w *world) (string, error)
}

var parts = []part{
	{"push", measurePush},
	{"fetch", measureFetch},
	{"replay", measureReplay},
}

func sectionNames() []string {
	var names []string
	for _, s := range parts {
		names = append(names, s.name)
	}
	return names
}

func run(set settings) (err error) {
	place, err := process.NewPlace("") // where servers are, so that none is left whatever happens
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	if err := os.Setenv("TMPDIR", place.Dir); err != nil {
		return err
	}
	w, err := newWorld(set.gpdedup, set.segments, set.rounds)
	if err != nil {
		return err
	}
	defer w.close()
	w.set = set
	for _, s := range parts {
		if set.only != "" && !slices.Contains(strings.Split(set.only, ","), s.name) {
			continue
		}
		text, err := s.measure(w)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		text += "\n" + w.taken() + "\n"
		fmt.Printf("%s\n", text)
		if set.document != "" {
			if err := section.Replace(set.document, "wal "+s.name, text); err != nil {
				return err
			}
		}
	}
	if set.figures == "" {
		return nil
	}
	return (&results.Results{Topics: map[string]*results.Topic{"wal": &w.found}}).Write(set.figures)
}

// The phases of a file of WAL.
const (
	oneByOne    = "push, one by one"
	fromBacklog = "push, from a backlog"
	fetched     = "fetch"
	replayed    = "replay"
)

// note takes down what a round took.
func (w *world) note(name, phase string, segments int, took time.Duration) {
	r := w.found.Run(name, phase)
	r.Streams = segments
	r.Bytes = int64(segments) * 16 << 20
	r.Wall = append(r.Wall, took.Seconds())
	r.CPU = append(r.CPU, w.used.Seconds())
}

// rate is how many segments a second it was.
func (w *world) rate(name, phase string) string {
	return results.StreamRate(w.found.Find(name, phase)).Format("%.1f")
}

// each is the processor time of a segment, in milliseconds.
func (w *world) each(name, phase string) string {
	r := w.found.Find(name, phase)
	ms := slices.Clone(r.CPU)
	for i := range ms {
		ms[i] *= 1000 / float64(r.Streams)
	}
	return ms.Format("%.0f")
}

// taken says what the figures were taken on.
func (w *world) taken() string {
	return fmt.Sprintf("Taken on %d cores, load %.1f at the end, PostgreSQL %s; %d segments of 16 MiB, median of %d rounds by turns (least–greatest).",
		runtime.NumCPU(), machine.Load(), w.server, w.segments, w.rounds)
}
