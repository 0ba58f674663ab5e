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
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

func main() {
	gpdedup := flag.String("gpdedup", "./gpdedup", "the program to measure")
	segments := flag.Int("segments", 200, "segments of WAL, of 16 MiB each")
	rounds := flag.Int("rounds", 3, "how often each is measured; what is reported is the median")
	only := flag.String("only", "", "sections to measure, separated by commas; default: all, which are "+strings.Join(sectionNames(), ","))
	update := flag.String("update", "", "the document whose sections between the wal markers are replaced")
	flag.Parse()
	if err := run(*gpdedup, *segments, *rounds, *only, *update); err != nil {
		fmt.Fprintln(os.Stderr, "wal:", err)
		os.Exit(1)
	}
}

// section is a part of the report, measured by itself. In the document it lies between
// markers of its name, so that it can be measured anew alone.
type section struct {
	name    string
	measure func(w *world) (string, error)
}

var sections = []section{
	{"push", measurePush},
	{"fetch", measureFetch},
	{"replay", measureReplay},
}

func sectionNames() []string {
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

func run(gpdedup string, segments, rounds int, only, document string) error {
	w, err := newWorld(gpdedup, segments, rounds)
	if err != nil {
		return err
	}
	defer w.close()
	for _, s := range sections {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.name) {
			continue
		}
		text, err := s.measure(w)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		text += "\n" + w.taken() + "\n"
		fmt.Printf("%s\n", text)
		if document != "" {
			if err := replace(document, s.name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// taken says what the figures were taken on.
func (w *world) taken() string {
	load, _ := os.ReadFile("/proc/loadavg") // for people only
	first, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("Taken on %d cores, load %s at the end, PostgreSQL %s; %d segments of 16 MiB, median of %d rounds by turns (least–greatest).",
		runtime.NumCPU(), first, w.server, w.segments, w.rounds)
}

// replace puts the text between the markers of a section of a document.
func replace(path, name, text string) error {
	begin, end := []byte("<!-- wal "+name+":begin -->\n"), []byte("<!-- wal "+name+":end -->\n")
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(document, begin)
	_, after, closed := bytes.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("update %s: it has no lines %q and %q", path, begin, end)
	}
	return os.WriteFile(filepath.Clean(path), bytes.Join([][]byte{before, begin, []byte("\n" + text + "\n"), end, after}, nil), 0o644)
}
