package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that was measured.
type report struct {
	days    []figures
	restore figures
	verify  time.Duration
	check   time.Duration
}

// print writes the table and the sentence.
func (r *report) print(w io.Writer, set settings) error {
	var total figures
	var rows strings.Builder
	rows.WriteString("\tstreams\ttext\tnewly stored\tshare\ttime\tMB/s\t\n")
	for i, d := range r.days {
		fmt.Fprintf(&rows, "day %d\t%d\t%s\t%s\t%s\t%s\t%s\t\n", i+1, d.streams, megabytes(d.logical), megabytes(d.stored),
			percent(d.stored, d.logical), seconds(d.took), rate(d.logical, d.took))
		total.streams += d.streams
		total.logical += d.logical
		total.stored += d.stored
		total.zstd += d.zstd
		total.took += d.took
	}
	fmt.Fprintf(&rows, "%d days\t%d\t%s\t%s\t%s\t%s\t%s\t\n", len(r.days), total.streams, megabytes(total.logical),
		megabytes(total.stored), percent(total.stored, total.logical), seconds(total.took), rate(total.logical, total.took))
	d := r.restore
	fmt.Fprintf(&rows, "restore\t%d\t%s\t\t\t%s\t%s\t\n", d.streams, megabytes(d.logical), seconds(d.took), rate(d.logical, d.took))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := io.WriteString(t, rows.String()); err != nil {
		return err
	}
	if err := t.Flush(); err != nil {
		return err
	}
	compression := "uncompressed"
	if set.gzip {
		compression = "through gzip -1"
	}
	_, err := fmt.Fprintf(w, `
Streams came %s, %d processes at once; time includes all hooks and files.
Day %d came back byte for byte in another directory layout; backup verify took %s, repo check %s.

%s
`, compression, set.jobs*set.segments, len(r.days), seconds(r.verify), seconds(r.check), verdict(len(r.days), total))
	return err
}

// verdict is the last sentence: what was saved, or what was not.
func verdict(days int, total figures) string {
	s := fmt.Sprintf("%d full backups take %s, %s than %s as plain copies", days, megabytes(total.stored),
		compare(total.stored, total.logical), megabytes(total.logical))
	if total.zstd == 0 {
		return s + "; zstd is not installed, so there is no comparison with it."
	}
	return s + fmt.Sprintf(" and %s than %s with each day compressed by zstd -1.", compare(total.stored, total.zstd), megabytes(total.zstd))
}

// compare says how much less a is than b, or that it is more.
func compare(a, b int64) string {
	if a > b {
		return percent(a-b, b) + " more"
	}
	return percent(b-a, b) + " less"
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func percent(a, b int64) string { return fmt.Sprintf("%.1f %%", 100*float64(a)/float64(max(b, 1))) }

func rate(n int64, d time.Duration) string {
	return fmt.Sprintf("%.0f", float64(n)/1e6/max(d.Seconds(), 1e-3))
}

// zstdSize is what zstd -1 makes of the streams, each by itself, in all; 0 if it is not installed.
func zstdSize(ctx context.Context, streams []stream) (total int64, err error) {
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		return 0, nil //nolint:nilerr // no zstd, no comparison
	}
	for _, s := range streams {
		n, err := outputSize(ctx, s.path, zstd, "-1", "-q", "-c")
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// outputSize counts what a filter prints of a file.
func outputSize(ctx context.Context, path, name string, args ...string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, name, args...)
	var count counter
	cmd.Stdin, cmd.Stdout = f, &count
	if err := cmd.Run(); err != nil {
		return 0, errors.Join(fmt.Errorf("run %s %s", name, strings.Join(args, " ")), err)
	}
	return int64(count), nil
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
