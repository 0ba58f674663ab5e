package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/report"
	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
)

// ReportCmd is gpdedup report.
type ReportCmd struct {
	HTML     string `name:"html" placeholder:"FILE" help:"Write a page of HTML to this file, which is replaced when the page is whole; - for standard output."`
	Capacity string `name:"capacity" placeholder:"SIZE" help:"How much the storage can take, as 10TB: says when it will be full."`
	Prune    bool   `name:"prune" help:"Also find out what a prune would free, as its dry run does: reads the index, and takes as long as that."`
	Top      int    `name:"top" default:"25" placeholder:"N" help:"List so many tables, and so many named streams: those that take most."`
}

// Help shows examples.
func (ReportCmd) Help() string {
	return `Says what the repository holds and what that takes over the days, what each backup added,
which databases and tables take most, to which moments databases can be recovered, what of
it checks have read, and how it will grow. The page has everything in it, asks nobody for
anything, and can be mailed or put on a web server; who reads it learns names of hosts,
databases and tables.

All namespaces are reported, unless --namespace is given. Nothing is written to the
repository. With --html and --json both are written.

Examples:

	gpdedup report
	gpdedup report --html /var/www/backup.html --capacity 10TB
	gpdedup report --json --top 1000 >report.json
	gpdedup report --html report.html --prune --namespace main
`
}

// Run makes the report.
func (c *ReportCmd) Run(g *Globals) error {
	o := report.Options{Namespace: g.namespaceFlag, Version: version, Top: c.Top, Prune: c.Prune, Now: time.Now()}
	if c.Top < 1 {
		return usageError("report: --top is less than 1", "")
	}
	if c.Capacity != "" {
		n, err := size.Parse(c.Capacity)
		if err != nil || n < 1 {
			return usageError(fmt.Sprintf("report: --capacity %q is not a size such as 10TB", c.Capacity), "")
		}
		o.Capacity = n
	}
	if c.HTML == "-" && g.JSON() {
		return usageError("report: both --json and --html - would go to standard output", "give --html the name of a file")
	}
	var path string
	if c.HTML != "" && c.HTML != "-" {
		var err error
		if path, err = replaceable(c.HTML); err != nil {
			return err
		}
	}
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	o.Progress = g.stages()
	found, err := report.Collect(g.Context(), r, o)
	o.Progress("", 0, 0)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	g.countReport(found)
	switch {
	case c.HTML == "-":
		out := bufio.NewWriter(g.Stdout())
		if err := errors.Join(found.Page(out), out.Flush()); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		return nil
	case c.HTML != "":
		if err := writeWhole(path, found.Page); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if !g.JSON() {
			return g.Print(nil, func(w io.Writer) { say(w, "wrote %s", c.HTML) })
		}
	}
	return g.Print(found, func(w io.Writer) { writeReport(w, found) })
}

// replaceable returns the path of the file that is to be replaced, or to be made.
func replaceable(output string) (string, error) {
	path, err := filepath.EvalSymlinks(output)
	if errors.Is(err, fs.ErrNotExist) {
		return output, nil
	}
	if err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", usageError(fmt.Sprintf("report: %s: not a regular file, so it cannot be replaced", output), "--html - writes to standard output")
	}
	return path, nil
}

// writeWhole makes a file with what write writes: it appears when it is whole, and
// replaces one that was there.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	temporary := filepath.Join(filepath.Dir(path), ".gpdedup-"+rand.Text()[:8])
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // less the umask
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()            //nolint:errcheck // what it holds is not wanted
			os.Remove(temporary) //nolint:errcheck // nor what it leaves
		}
	}()
	out := bufio.NewWriter(f)
	if err = errors.Join(write(out), out.Flush()); err != nil {
		return err
	}
	// The name must not outlive a crash that the bytes do not.
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeReport says the most important of it in lines.
func writeReport(w io.Writer, r *report.Report) {
	t := newTable(w)
	row(t, "stored", fmt.Sprintf("%s, of which %s are WAL", formatBytes(r.Totals.Stored), formatBytes(r.Totals.WAL)))
	row(t, "restored", fmt.Sprintf("%s in %s, %s and %s; it added %s (%s)", formatBytes(r.Totals.Logical), count(r.Totals.Backups, "backup"),
		count(r.Totals.Bases, "base backup"), count(r.Totals.Versions, "stream version"), formatBytes(r.Totals.Added), formatRatio(r.Totals.Logical, r.Totals.Added)))
	if f := r.Forecast; f != nil {
		row(t, "growth", fmt.Sprintf("%s a day (90%%: %s to %s), of %s", formatBytes(f.PerDay), formatBytes(f.Low), formatBytes(f.High), count(f.Days, "day")))
		if f.Full != nil {
			row(t, "full", fmt.Sprintf("%s in %s (90%%: %s to %s)", formatBytes(f.Capacity), fullIn(f.Full.Days), fullIn(f.Full.Earliest), fullIn(f.Full.Latest)))
		}
	} else {
		row(t, "growth", "too few days to tell")
	}
	k := &r.Check
	row(t, "checked", fmt.Sprintf("%s of %s in packs were read by checks", formatBytes(k.ReadBytes), formatBytes(k.Bytes)))
	freed := fmt.Sprintf("%s condemned; %s deleted, which added %s", formatBytes(r.Prune.Bytes), count(r.Prune.DeletedRoots, "backup"), formatBytes(r.Prune.AtMost))
	if s := r.Prune.Survey; s != nil {
		freed = fmt.Sprintf("%s would be freed; ", formatBytes(s.Free)) + freed
	}
	row(t, "prune", freed)
	_ = t.Flush() // to a buffer
	for _, text := range r.Attention {
		say(w, "attention: %s", text)
	}
	if len(r.Tables) > 0 {
		say(w, "")
		t = newTable(w)
		row(t, "TABLE", "DATABASE", "BACKUPS", "SIZE", "RESTORED", "ADDED", "RATIO")
		for i := range r.Tables {
			x := &r.Tables[i]
			name := x.Table
			if name == "" {
				name = "(" + x.Kind + ")"
			}
			row(t, name, x.Namespace+"/"+x.Database, x.Backups, formatBytes(x.LastSize), formatBytes(x.Logical), formatBytes(x.Added), formatRatio(x.Logical, x.Added))
		}
		_ = t.Flush() // to a buffer
	}
}

func fullIn(days *int) string {
	if days == nil {
		return "more than 100 years"
	}
	return count(*days, "day")
}
