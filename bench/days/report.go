package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/section"
)

// report makes the table of the days.
func report(contenders []*contender, days int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| share of the first day | %s |\n|---|%s\n", names(contenders), strings.Repeat("---:|", len(contenders)))
	row := func(what string, value func(c *contender) string) {
		fmt.Fprintf(&b, "| %s |", what)
		for _, c := range contenders {
			fmt.Fprintf(&b, " %s |", value(c))
		}
		b.WriteByte('\n')
	}
	row("the first day stores", firstDay)
	row("the second day adds", func(c *contender) string { return share(c.stored, 1, 2) })
	totals := []int{peerDays, days}
	slices.Sort(totals)
	for _, n := range slices.Compact(totals) {
		if n <= days {
			row(fmt.Sprintf("%d days in all", n), func(c *contender) string { return share(c.stored, 0, n) })
		}
	}
	row("time of the second day to the first", func(c *contender) string {
		if len(c.took) < 2 {
			return "–"
		}
		return fmt.Sprintf("%.2f", c.took[1].Seconds()/c.took[0].Seconds())
	})
	row("changed chunks that found a base, second day", func(c *contender) string { return found(c, 1, 2) })
	row("… all days but the first", func(c *contender) string { return found(c, 1, days) })
	return b.String()
}

func firstDay(c *contender) string { return fmt.Sprintf("%.1f MB", float64(c.stored[0])/1e6) }

// found is which part of the chunks that were new on the days [from, to) was stored
// as deltas.
func found(c *contender, from, to int) string {
	var changed, deltas int64
	for day := from; day < min(to, len(c.changed)); day++ {
		changed += c.changed[day]
		deltas += c.deltas[day]
	}
	if changed == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %% of %d", 100*float64(deltas)/float64(changed), changed)
}

func reportRestores(r [2]restored, days int) string {
	times := func(first, last time.Duration) string {
		return fmt.Sprintf("%.2f times that of day 1 (%.2f s and %.2f s", last.Seconds()/first.Seconds(), last.Seconds(), first.Seconds())
	}
	return fmt.Sprintf("\nThe restore of day %d takes %s, the best of five by turns), and in processor time %s).\n",
		days, times(r[0].time, r[1].time), times(r[0].processor, r[1].processor))
}

func reportGrown(grown *contender) string {
	return fmt.Sprintf("\nAn append-only table that grows by 2 %% a day: the second day adds %s of the first, %d days take %s.\n",
		share(grown.stored, 1, 2), len(grown.stored), share(grown.stored, 0, len(grown.stored)))
}

// reportBases says what a second base backup takes, beside the other programs.
func reportBases(bases []*contender) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe whole cluster, a tar of `pg_basebackup -X none`, and again after updates of 1 %% of the rows:\n\n| | %s |\n|---|%s\n",
		names(bases), strings.Repeat("---:|", len(bases)))
	for _, row := range []struct {
		what  string
		value func(c *contender) string
	}{
		{"the first stores", firstDay},
		{"the second adds", func(c *contender) string { return share(c.stored, 1, 2) }},
		{"changed chunks that found a base", func(c *contender) string { return found(c, 1, 2) }},
	} {
		fmt.Fprintf(&b, "| %s |", row.what)
		for _, c := range bases {
			fmt.Fprintf(&b, " %s |", row.value(c))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func names(contenders []*contender) string {
	var out []string
	for _, c := range contenders {
		out = append(out, cmp.Or(map[string]string{
			"plain": "gpdedup, `--no-compression`", "gzip": "gpdedup, through `gzip -1`", "base": "gpdedup",
		}[c.name], c.name))
	}
	return strings.Join(out, " | ")
}

// share is what days [from, to) stored, in proportion to the first.
func share(stored []int64, from, to int) string {
	if to > len(stored) {
		return "–"
	}
	var sum int64
	for _, n := range stored[from:to] {
		sum += n
	}
	if to-from == 1 {
		return fmt.Sprintf("%.1f %%", 100*float64(sum)/float64(stored[0]))
	}
	return fmt.Sprintf("%.2f ×", float64(sum)/float64(stored[0]))
}

// marker names the section of a source.
var marker = map[string]string{"tablegen": "days", "postgres": "pgdays"}

// publish replaces the source's section of the document, or prints it if there is none.
func publish(s settings, text string) error {
	if s.document == "" {
		fmt.Print(text)
		return nil
	}
	return section.Replace(s.document, marker[s.source], text)
}
