package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
)

// formatBytes returns n bytes as people read them: 12.3 MiB.
func formatBytes[N ~int64 | ~uint64 | ~int | ~uint](n N) string { return size.Format(int64(n)) }

// formatTime returns t as tables show it.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// formatRatio returns how many times as large whole is as part.
func formatRatio[N ~int64 | ~uint64](whole, part N) string {
	if part <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fx", float64(whole)/float64(part))
}

// count returns the number with its noun: 1 stream, 2 streams.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// countOnly writes a number that is not of bytes.
func countOnly(n int64) string { return strconv.FormatInt(n, 10) }

// say writes a line to where writing does not fail, or where nobody could be told.
func say(w io.Writer, format string, args ...any) {
	for i := range args {
		args[i] = printable(args[i])
	}
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}

// row writes a row of a table; empty cells at its end are left out.
func row(t *tabwriter.Writer, cells ...any) {
	texts := make([]string, len(cells))
	last := 0
	for i, c := range cells {
		if texts[i] = fmt.Sprint(printable(c)); texts[i] != "" {
			last = i + 1
		}
	}
	_, _ = io.WriteString(t, strings.Join(texts[:last], "\t")+"\n")
}

// printable makes names from a repository harmless to a terminal, and to a table.
func printable(v any) any {
	switch v := v.(type) {
	case string:
		return oneLine(v)
	case fmt.Stringer:
		return oneLine(v.String())
	}
	return v
}

// newTable returns a writer that aligns tab-separated columns; it writes at Flush.
func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }
