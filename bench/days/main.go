// Command days measures what a table costs that is backed up in full every day while
// a little of it changes all over: bytes stored and time, day by day, by gpdedup's
// plugin commands, and beside it by restic and borg where they are installed. Every
// day is restored at the end and compared.
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
	"flag"
	"fmt"
	"os"
	"path/filepath"
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
	var s settings
	flag.StringVar(&s.gpdedup, "gpdedup", "./gpdedup", "the program to measure")
	flag.StringVar(&s.source, "source", "tablegen", "what makes the table: tablegen or postgres")
	flag.IntVar(&s.rows, "rows", 1_500_000, "rows of the table on the first day, about 157 bytes each")
	flag.IntVar(&s.days, "days", 0, "days to simulate; default: 30, and 5 with postgres; restic and borg see the first five")
	flag.BoolVar(&s.alone, "alone", false, "leave restic and borg out")
	flag.StringVar(&s.dir, "dir", "", "where to work; default: a temporary directory")
	flag.BoolVar(&s.keep, "keep", false, "leave what was made, for a closer look")
	flag.StringVar(&s.document, "update", "", "the document whose section between this source's markers is replaced")
	flag.Parse()
	section, err := run(s)
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
func run(s settings) (string, error) {
	var err error
	if s.gpdedup, err = filepath.Abs(s.gpdedup); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(s.dir, "gpdedup-days-*")
	if err != nil {
		return "", err
	}
	if s.keep {
		fmt.Fprintln(os.Stderr, "in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	w := &world{gpdedup: s.gpdedup, dir: dir, alone: s.alone}
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
