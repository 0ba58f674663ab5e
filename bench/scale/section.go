//go:build linux

package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/machine"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// table has a column for each size and a row for each thing that is measured.
type table struct {
	columns []string
	rows    []string
	cells   map[string][]string
}

// column begins the next size.
func (t *table) column(name string) { t.columns = append(t.columns, name) }

// set fills a cell of the last column.
func (t *table) set(row, format string, args ...any) {
	if t.cells == nil {
		t.cells = make(map[string][]string)
	}
	if !slices.Contains(t.rows, row) {
		t.rows = append(t.rows, row)
	}
	for len(t.cells[row]) < len(t.columns)-1 {
		t.cells[row] = append(t.cells[row], "–")
	}
	t.cells[row] = append(t.cells[row], fmt.Sprintf(format, args...))
	progress("  %s: %s", row, t.cells[row][len(t.columns)-1])
}

func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "|  | %s |\n|---|%s\n", strings.Join(t.columns, " | "), strings.Repeat("---:|", len(t.columns)))
	for _, row := range t.rows {
		for len(t.cells[row]) < len(t.columns) {
			t.cells[row] = append(t.cells[row], "–")
		}
		fmt.Fprintf(&b, "| %s | %s |\n", row, strings.Join(t.cells[row], " | "))
	}
	return b.String()
}

// taken says what the figures were taken on.
func taken() string {
	return fmt.Sprintf("Taken on %s: %d cores, %s, load %.1f at the end.", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(),
		strings.Replace(runtime.Version(), "go", "Go ", 1), machine.Load())
}

// count writes a number the way it is said.
func count(n int) string {
	switch {
	case n >= size.Mega:
		return fmt.Sprintf("%d million", n/size.Mega)
	case n >= 1000:
		return fmt.Sprintf("%d thousand", n/1000)
	}
	return fmt.Sprint(n)
}

func formatTime(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<19)>>20) }
