// Command days measures what a table costs that is backed up in full every day while
// a little of it changes all over: bytes stored and time, day by day, by gpdedup's
// plugin commands, and beside it by restic, borg and kopia where they are installed.
// Every day is restored at the end and compared.
//
//	go run ./bench/days --gpdedup ./gpdedup --update docs/performance.md
//	go run ./bench/days --gpdedup ./gpdedup --source postgres --update docs/performance.md
//
// The first takes the text that bench/tablegen makes, the same on every machine. The
// second has a PostgreSQL of its own make it, in a temporary directory, by real
// UPDATE, INSERT, DELETE and VACUUM, and asks what a second pg_basebackup costs.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gpdedup/gpdedup/bench/internal/process"
)

// settings are what the flags say.
type settings struct {
	gpdedup  string
	source   string
	rows     int
	days     int
	alone    bool
	dir      string
	keep     bool
	document string
}

func main() {
	process.Main(nil)
	var s settings
	flag.StringVar(&s.gpdedup, "gpdedup", "./gpdedup", "the program to measure")
	flag.StringVar(&s.source, "source", "tablegen", "what makes the table: tablegen or postgres")
	flag.IntVar(&s.rows, "rows", 1_500_000, "rows of the table on the first day, about 157 bytes each")
	flag.IntVar(&s.days, "days", 0, "days to simulate; default: 30, and 5 with postgres; the other programs see the first five")
	flag.BoolVar(&s.alone, "alone", false, "leave the other programs out")
	flag.StringVar(&s.dir, "dir", "", "where to work; default: a temporary directory")
	flag.BoolVar(&s.keep, "keep", false, "leave what was made, for a closer look")
	flag.StringVar(&s.document, "update", "", "the document whose section between this source's markers is replaced")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	section, err := run(ctx, s)
	if err == nil {
		err = publish(s, section)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "days:", err)
		os.Exit(1)
	}
}

// peerDays is how many days the other programs are given.
const peerDays = 5

// run simulates the days and returns what there is to say about them.
func run(ctx context.Context, s settings) (text string, err error) {
	if s.gpdedup, err = filepath.Abs(s.gpdedup); err != nil {
		return "", err
	}
	place, err := process.NewPlace(s.dir)
	if err != nil {
		return "", err
	}
	defer func() {
		if s.keep { // whatever has another name is not looked for
			err = errors.Join(err, os.Rename(place.Dir, place.Dir+".kept"))
			fmt.Fprintln(os.Stderr, "in", place.Dir+".kept")
		}
		err = errors.Join(err, place.Close())
	}()
	w := &world{ctx: ctx, place: place, gpdedup: s.gpdedup, dir: place.Dir, alone: s.alone}
	switch s.source {
	case "tablegen":
		s.days = cmp.Or(s.days, 30)
		return w.tablegenDays(s)
	case "postgres":
		s.days = cmp.Or(s.days, 5)
		return w.postgresDays(s)
	}
	return "", fmt.Errorf("unknown source %q: want tablegen or postgres", s.source)
}
