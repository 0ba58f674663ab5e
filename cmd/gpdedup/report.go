package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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
	var file *replacement
	if c.HTML != "" && c.HTML != "-" {
		var err error
		if file, err = replace("report", c.HTML, "--html - writes to standard output"); err != nil {
			return err
		}
		file.mode = 0o666 // whatever the one before had
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
	page := func(w io.Writer) error {
		out := bufio.NewWriter(w)
		if err := errors.Join(found.Page(out), out.Flush()); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		return nil
	}
	switch {
	case c.HTML == "-":
		return page(g.Stdout())
	case file != nil:
		if _, err := file.write(page); err != nil {
			return err
		}
		if !g.JSON() {
			return g.Print(nil, func(w io.Writer) { say(w, "wrote %s", c.HTML) })
		}
	}
	return g.Print(found, func(w io.Writer) { writeReport(w, found) })
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
