// Command locality measures what a month of daily backups, deletes and prunes does to restores. A table is backed up in full
// every day; all days but the newest few are deleted and pruned. At the end the newest and the oldest day that are left are
// restored, and beside them the same days out of a repository that never held anything else:
//
//	go run ./bench/locality                                # a few minutes, to standard output
//	go run ./bench/locality --update docs/performance.md
//
// It counts requests, packs and bytes, not time, and does the work in this process, with the program's own packages: what
// is counted does not depend on the machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/section"
	"github.com/gpdedup/gpdedup/bench/tablegen"
)

type settings struct {
	days, keep, rows int
	dir, document    string
}

func main() {
	var s settings
	flag.IntVar(&s.days, "days", 30, "days to simulate")
	flag.IntVar(&s.keep, "keep", 7, "days that are kept")
	flag.IntVar(&s.rows, "rows", 300_000, "rows of a table on the first day, about 157 bytes each")
	flag.StringVar(&s.dir, "dir", "", "where to work; default: a temporary directory")
	flag.StringVar(&s.document, "update", "", "the document whose section between the markers is replaced")
	flag.Parse()
	text, err := run(context.Background(), s)
	if err == nil {
		err = publish(s.document, text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "locality:", err)
		os.Exit(1)
	}
}

// run simulates both kinds of tables and returns what there is to say about them.
func run(ctx context.Context, s settings) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "|  | requests | packs | bytes read | processor time |\n|---|---:|---:|---:|---:|\n")
	for _, t := range []scenario{
		{tablegen.Heap, "changes all over", false},
		{tablegen.Heap, "changes all over, --repack-small", true},
		{tablegen.AppendOnly, "append-only", false},
		{tablegen.AppendOnly, "append-only, --repack-small", true},
	} {
		if err := month(ctx, s, &b, t); err != nil {
			return "", fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return b.String(), nil
}

// scenario is a kind of table, and how it is pruned.
type scenario struct {
	kind  tablegen.Kind
	name  string
	small bool // packs are merged
}

func month(ctx context.Context, s settings, b *strings.Builder, x scenario) error {
	dir, err := os.MkdirTemp(s.dir, "gpdedup-locality-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(ctx, dir+"/month")
	if err != nil {
		return err
	}
	defer w.close()
	w.small = x.small
	table := tablegen.New(x.kind, 3, s.rows)
	var fresh [2]restored // of the oldest day that is kept, and of the newest
	for day := range s.days {
		if day > 0 {
			table.NextDay(tablegen.Daily(x.kind))
		}
		if err := w.backUp(ctx, day, table); err != nil {
			return err
		}
		if old := day - s.keep; old >= 0 {
			if err := w.remove(ctx, old); err != nil {
				return err
			}
		}
		for i, kept := range []int{s.days - s.keep, s.days - 1} {
			if day == max(kept, 0) {
				if fresh[i], err = alone(ctx, fmt.Sprintf("%s/fresh%d", dir, i), table); err != nil {
					return err
				}
			}
		}
		fmt.Fprintf(os.Stderr, "%s: day %d of %d: %s\n", x.name, day+1, s.days, &w.pruned)
	}
	for i, day := range []int{max(0, s.days-s.keep), s.days - 1} {
		got, err := w.restore(ctx, day, w.cache)
		if err != nil {
			return err
		}
		if got.sum != fresh[i].sum {
			return fmt.Errorf("day %d restores to something else", day+1)
		}
		what := [2]string{"oldest", "newest"}[i]
		fmt.Fprintf(b, "| %s, the %s of %d days | %s |\n", x.name, what, s.keep, got.cells())
		fmt.Fprintf(b, "| … alone in a repository | %s |\n", fresh[i].cells())
		fmt.Fprintf(b, "| … ratio | %s |\n", got.ratios(&fresh[i]))
	}
	fmt.Fprintf(b, "| %s, all prunes | %s |\n", x.name, w.pruned.cells())
	return nil
}

// publish replaces the section of the document, or prints it if there is none.
func publish(document, text string) error {
	if document == "" {
		fmt.Print(text)
		return nil
	}
	return section.Replace(document, "locality", text)
}
