// Command base measures base backups of a real PostgreSQL server: five days with
// scattered updates, beside pg_basebackup, which keeps each day whole, and beside
// pgBackRest where it is installed, with full backups and with a full one and
// incremental ones.
//
//	go run ./bench/base --gpdedup ./gpdedup --update docs/performance.md
//
// All take the same server's backups in turn, so that whatever else the machine does is
// shared between them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/machine"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/section"
)

func main() {
	process.Main(nil)
	gpdedup := flag.String("gpdedup", "./gpdedup", "the program to measure")
	rows := flag.Int("rows", 1_000_000, "rows of the table; one takes about 200 bytes")
	days := flag.Int("days", 5, "days, each with updates of 1 % of the rows")
	update := flag.String("update", "", "the document whose section between the base markers is replaced")
	flag.Parse()
	if err := run(*gpdedup, *rows, *days, *update); err != nil {
		fmt.Fprintln(os.Stderr, "base:", err)
		os.Exit(1)
	}
}

func run(gpdedup string, rows, days int, document string) (err error) {
	place, err := process.NewPlace("") // where servers are, so that none is left whatever happens
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	if err := os.Setenv("TMPDIR", place.Dir); err != nil {
		return err
	}
	w, err := newWorld(gpdedup)
	if err != nil {
		return err
	}
	defer w.close()
	defer func() {
		if r := recover(); r != nil { // of Fatalf
			err = fmt.Errorf("%v", r)
		}
	}()
	list, err := w.contenders()
	if err != nil {
		return err
	}
	if err := w.measure(list, rows, days); err != nil {
		return err
	}
	text := w.report(list, rows, days)
	fmt.Println(text)
	if document == "" {
		return nil
	}
	return section.Replace(document, "base", text)
}

// report is the table of the document.
func (w *world) report(list []*contender, rows, days int) string {
	var b strings.Builder
	head := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	names, rule := []string{""}, []string{"---"}
	for _, c := range list {
		names, rule = append(names, c.name), append(rule, "---:")
	}
	head(names...)
	head(rule...)
	line := func(what string, cell func(*contender) string) {
		cells := []string{what}
		for _, c := range list {
			cells = append(cells, cell(c))
		}
		head(cells...)
	}
	mib := func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
	line("first day, seconds", func(c *contender) string { return fmt.Sprintf("%.1f", c.seconds[0]) })
	line("days after, seconds each", func(c *contender) string {
		var sum float64
		for _, s := range c.seconds[1:] {
			sum += s
		}
		return fmt.Sprintf("%.1f", sum/float64(max(1, len(c.seconds)-1)))
	})
	line("first day, stored", func(c *contender) string { return mib(c.stored[0]) })
	line("a day after adds", func(c *contender) string {
		return mib((c.stored[len(c.stored)-1] - c.stored[0]) / int64(max(1, len(c.stored)-1)))
	})
	line(fmt.Sprintf("all %d days, stored", days), func(c *contender) string { return "**" + mib(c.stored[len(c.stored)-1]) + "**" })
	line("restore of the last day, seconds", func(c *contender) string { return fmt.Sprintf("%.1f", c.restore) })
	fmt.Fprintf(&b, "\nA data directory of %s, of it a table of %d rows with an index; each day 1 %% of the rows, scattered, are updated. "+
		"Bytes are those of the backups, without the WAL archive. Taken on %d cores, load %.1f at the end, %s, %s.\n",
		mib(w.size), rows, runtime.NumCPU(), machine.Load(), w.versions[0], strings.Join(w.versions[1:], ", "))
	return b.String()
}
