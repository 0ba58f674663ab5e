package main

import (
	"fmt"
	"strings"
	"time"
)

// report makes the tables.
func report(contenders []*contender, grown *contender, restores [2]time.Duration, days int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| share of the first day | %s |\n|---|%s\n", names(contenders), strings.Repeat("---:|", len(contenders)))
	row := func(what string, value func(c *contender) string) {
		fmt.Fprintf(&b, "| %s |", what)
		for _, c := range contenders {
			fmt.Fprintf(&b, " %s |", value(c))
		}
		b.WriteByte('\n')
	}
	row("the first day stores", func(c *contender) string { return fmt.Sprintf("%.1f MB", float64(c.stored[0])/1e6) })
	row("the second day adds", func(c *contender) string { return share(c.stored, 1, 2) })
	for _, n := range []int{peerDays, days} {
		row(fmt.Sprintf("%d days in all", n), func(c *contender) string { return share(c.stored, 0, n) })
	}
	row("time of the second day to the first", func(c *contender) string {
		if len(c.took) < 2 {
			return "–"
		}
		return fmt.Sprintf("%.2f", c.took[1].Seconds()/c.took[0].Seconds())
	})
	fmt.Fprintf(&b, "\nThe restore of day %d takes %.2f times that of day 1 (%.2f s and %.2f s, the best of five by turns).\n",
		days, restores[1].Seconds()/restores[0].Seconds(), restores[1].Seconds(), restores[0].Seconds())
	fmt.Fprintf(&b, "\nAn append-only table that grows by 2 %% a day: the second day adds %s of the first, %d days take %s.\n",
		share(grown.stored, 1, 2), peerDays, share(grown.stored, 0, peerDays))
	return b.String()
}

func names(contenders []*contender) string {
	var out []string
	for _, c := range contenders {
		name := c.name
		if c.most == 0 {
			name = "gpdedup, " + map[string]string{"plain": "`--no-compression`", "gzip": "through `gzip -1`"}[c.name]
		}
		out = append(out, name)
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
