//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
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
func taken(string) string {
	var load float64
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &load) // for people only
	}
	return fmt.Sprintf("Taken on %s: %d cores, %s, load %.1f at the end.", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(),
		strings.Replace(runtime.Version(), "go", "Go ", 1), load)
}

// replaceSection puts the section between the markers of its name in a Markdown file. With nil it only makes sure that it
// could.
func replaceSection(path, name string, section []byte) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Appendf(nil, "<!-- %s:begin -->\n", name), fmt.Appendf(nil, "<!-- %s:end -->", name)
	before, rest, ok := bytes.Cut(text, begin)
	_, after, closed := bytes.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("update %s: it has no lines %q and %q", path, bytes.TrimSpace(begin), end)
	}
	if section == nil {
		return nil
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, begin, section, end, after}, nil), 0o644)
}

func formatBytes(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1_000 * giga, "TB"}, {giga, "GB"}, {mega, "MB"}, {1000, "KB"}} {
		if n >= unit.bytes {
			v := float64(n) / float64(unit.bytes)
			if v < 10 {
				return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + unit.name
			}
			return fmt.Sprintf("%.0f %s", v, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// count writes a number the way it is said.
func count(n int) string {
	switch {
	case n >= mega:
		return fmt.Sprintf("%d million", n/mega)
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
