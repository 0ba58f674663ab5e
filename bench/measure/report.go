//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
)

// sample is one figure of several rounds.
type sample []float64

func (s sample) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// format writes the median, and the span where there is one.
func (s sample) format(u unit) string {
	if len(s) == 0 {
		return "–"
	}
	text := fmt.Sprintf(u.format, s.median()*u.scale) + u.name
	low, high := fmt.Sprintf(u.format, slices.Min(s)*u.scale), fmt.Sprintf(u.format, slices.Max(s)*u.scale)
	if low != high {
		text += " (" + low + "–" + high + ")"
	}
	return text
}

// unit says how a figure is written.
type unit struct {
	format string
	scale  float64
	name   string
}

var (
	milliseconds = unit{"%.1f", 1000, " ms"}
	seconds      = unit{"%.2f", 1, " s"}
	speed        = unit{"%.0f", 1, " MB/s"}
	percent      = unit{"%.1f", 100, " %"}
	mebibytes    = unit{"%.0f", 1, " MiB"}
	megabytes    = unit{"%.0f", 1, " MB"}
	times        = unit{"%.2f", 1, "×"}
)

// goal is a bound for a figure.
type goal struct {
	value float64
	least bool
}

func atMost(v float64) *goal  { return &goal{value: v} }
func atLeast(v float64) *goal { return &goal{value: v, least: true} }

// cells are the columns goal and met.
func (g *goal) cells(figure float64, unit string) string {
	if g == nil {
		return "–|–"
	}
	sign, met := "≤", figure <= g.value
	if g.least {
		sign, met = "≥", figure >= g.value
	}
	word := "**no**"
	if met {
		word = "yes"
	}
	return fmt.Sprintf("%s %g%s|%s", sign, g.value, unit, word)
}

// report is the section in the making.
type report struct{ tables []*table }

// table is one subsection.
type table struct {
	title, note string
	head        string
	rows        []string
}

// memoryTable is a table whose figures are compared with fixed bounds.
type memoryTable struct{ *table }

func (r *report) table(title, other, note string) *table {
	t := &table{title: title, note: note, head: "what|gpdedup|" + other + "|ratio|goal|met"}
	r.tables = append(r.tables, t)
	return t
}

func (r *report) memoryTable(title, note string) *memoryTable {
	return &memoryTable{r.customTable(title, note, "what|anonymous|of files|goal|met")}
}

func (r *report) customTable(title, note, head string) *table {
	t := &table{title: title, note: note, head: head}
	r.tables = append(r.tables, t)
	return t
}

// bytes is the table of what was stored.
func (r *report) bytes() *table {
	for _, t := range r.tables {
		if t.title == "Bytes stored" {
			return t
		}
	}
	return r.table("Bytes stored", "the other", "")
}

// compare adds a row: the medians of both, and their ratio, with the span of the ratios of the single rounds.
func (t *table) compare(what string, u unit, ours, theirs sample, g *goal) {
	ratio := ours.median() / theirs.median()
	var each sample
	for i := range min(len(ours), len(theirs)) {
		each = append(each, ours[i]/theirs[i])
	}
	text := fmt.Sprintf(times.format, ratio)
	if len(each) > 1 {
		text += fmt.Sprintf(" (%.2f–%.2f)", slices.Min(each), slices.Max(each))
	}
	t.rows = append(t.rows, strings.Join([]string{what, ours.format(u), theirs.format(u), text, g.cells(ratio, "")}, "|"))
}

// add adds a row of a figure that stands for itself.
func (t *table) add(what string, u unit, ours sample) {
	t.rows = append(t.rows, strings.Join([]string{what, ours.format(u), "–", "–", (*goal)(nil).cells(0, "")}, "|"))
}

// add adds a row. The goal is for the peak of all runs.
func (t *memoryTable) add(what string, f footprint, g *goal) {
	t.rows = append(t.rows, strings.Join([]string{what, f.anon.format(mebibytes), f.file.format(mebibytes), g.cells(slices.Max(f.anon), " MiB")}, "|"))
}

// markdown writes the section.
func (r *report) markdown(machine string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", machine)
	for _, t := range r.tables {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", t.title, t.note)
		if len(t.rows) == 0 {
			continue
		}
		columns := strings.Count(t.head, "|") + 1
		fmt.Fprintf(&b, "\n| %s |\n|---%s|\n", strings.ReplaceAll(t.head, "|", " | "), strings.Repeat("|---:", columns-1))
		for _, row := range t.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.ReplaceAll(row, "|", " | "))
		}
	}
	return b.Bytes()
}

// formatBytes writes a length of round figures.
func formatBytes(n int64) string {
	switch {
	case n >= giga:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/giga), ".0") + " GB"
	case n >= mega:
		return fmt.Sprintf("%.0f MB", float64(n)/mega)
	}
	return fmt.Sprintf("%d bytes", n)
}

// count writes a number of many digits.
func count(n int) string {
	if n >= mega && n%mega == 0 {
		return fmt.Sprintf("%d million", n/mega)
	}
	return fmt.Sprint(n)
}
