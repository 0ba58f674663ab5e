package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal/base"
)

// retentionChart shows which backups are there: a row for each database, cluster or
// stream, a mark for each backup.
func retentionChart(r *Report) *chart {
	c := newChart("retention", "What is kept", "A row for each database, cluster or named stream, and in it a mark for each backup that is there, by when it was stored.")
	type line struct {
		label string
		roots []*Root
	}
	var lines []*line
	byLabel := make(map[string]*line)
	for i := range r.Backups {
		b := &r.Backups[i]
		if b.Stored.IsZero() {
			continue
		}
		label := seriesOf(b)
		if byLabel[label] == nil {
			byLabel[label] = &line{label: label}
			lines = append(lines, byLabel[label])
		}
		byLabel[label].roots = append(byLabel[label].roots, b)
	}
	if len(lines) == 0 || len(r.Days) == 0 {
		return c
	}
	slices.SortStableFunc(lines, func(a, b *line) int { return cmp.Compare(len(b.roots), len(a.roots)) })
	c.Table.Head = []string{"What", "Backups", "Oldest", "Newest", "in 7 days", "in 30 days", "in 365 days", "deleted"}
	shown := lines[:min(len(lines), shownRows)]
	if n := len(lines) - len(shown); n > 0 {
		c.Note = plural(n, "rows") + " are not drawn."
	}
	labels := make([]string, len(shown))
	for i, l := range shown {
		labels[i] = l.label
	}
	middle := rowsChart(c, labels)
	x := c.daysAxis(r.Days[0].day, r.Days[len(r.Days)-1].day+1)
	seen := make(map[string]bool)
	for i, l := range shown {
		within := func(days int) string {
			n := 0
			for _, b := range l.roots {
				if b.Status != backups.Deleted && r.Generated.Sub(b.Stored) <= time.Duration(days)*24*time.Hour {
					n++
				}
			}
			return strconv.Itoa(n)
		}
		deleted := 0
		for _, b := range l.roots {
			class := "dot " + statusClass(b.Status)
			seen[statusClass(b.Status)] = true
			if b.Status == backups.Deleted {
				deleted++
			}
			at := x.at(float64(b.Stored.Unix()) / secondsPerDay)
			c.Shapes = append(c.Shapes, shape{Class: class, X: coordinate(at), Y: coordinate(middle(i)), R: 4, Tip: fmt.Sprintf("%s, %s, %s", b.Name, when(b.Stored), b.Status)})
		}
		c.Table.Rows = append(c.Table.Rows, []string{
			l.label, strconv.Itoa(len(l.roots) - deleted), when(l.roots[len(l.roots)-1].Stored), when(l.roots[0].Stored),
			within(7), within(30), within(365), strconv.Itoa(deleted),
		})
	}
	for _, g := range []legend{{"good", "complete"}, {"bad", "failed, damaged, incomplete"}, {"gone", "deleted"}} {
		if seen[g.Class] {
			c.Legend = append(c.Legend, g)
		}
	}
	return c
}

func statusClass(s backups.Status) string {
	switch s {
	case backups.Complete:
		return "good"
	case backups.Deleted:
		return "gone"
	}
	return "bad"
}

// seriesOf names what a backup is one of many of.
func seriesOf(b *Root) string {
	name := b.Database
	switch b.Class {
	case repo.Named:
		name, _, _ = strings.Cut(b.Name, "@")
	case repo.Base:
		content, _, _ := cutName(b.Name)
		name = "base " + content
	default:
		if name == "" {
			name = "(unknown)"
		}
	}
	if b.Namespace != "default" {
		name = b.Namespace + "/" + name
	}
	return name
}

// windowsChart shows to which moments databases can be recovered.
func windowsChart(r *Report) *chart {
	c := newChart("windows", "Moments that can be recovered", "A row for each cluster and content id: bars from the end of a base backup to the last WAL that leads on from it without a gap.")
	byCluster := make(map[string][]*base.Row)
	var labels []string
	first, last := int64(0), dayOf(r.Generated)+1
	c.Table.Head = []string{"Cluster", "Base backup", "from", "to", "timeline", "problem"}
	for i := range r.Bases {
		b := &r.Bases[i]
		from, to, timeline := window(b)
		label := b.Namespace
		if b.Content != "0" {
			label += " " + b.Content
		}
		c.Table.Rows = append(c.Table.Rows, []string{label, b.Label, when(from), when(to), timeline, b.Problem})
		if to.IsZero() {
			continue
		}
		if byCluster[label] == nil {
			labels = append(labels, label)
		}
		byCluster[label] = append(byCluster[label], b)
		if day := dayOf(from); first == 0 || day < first {
			first = day
		}
	}
	if len(labels) == 0 {
		return c
	}
	slices.Sort(labels)
	if n := len(labels) - shownRows; n > 0 {
		c.Note = plural(n, "rows") + " are not drawn."
		labels = labels[:shownRows]
	}
	middle := rowsChart(c, labels)
	x := c.daysAxis(first, last)
	for i, label := range labels {
		for _, b := range byCluster[label] {
			from, to, _ := window(b)
			left, right := x.at(float64(from.Unix())/secondsPerDay), x.at(float64(to.Unix())/secondsPerDay)
			c.Shapes = append(c.Shapes, shape{
				Class: "bar span", X: coordinate(left), Y: coordinate(middle(i) - 7), W: coordinate(max(right-left, 2)), H: 14,
				Tip: fmt.Sprintf("%s: %s to %s", b.Label, when(from), when(to)),
			})
		}
		for _, b := range byCluster[label] {
			from, _, _ := window(b)
			c.Shapes = append(c.Shapes, shape{Class: "dot s3", X: coordinate(x.at(float64(from.Unix()) / secondsPerDay)), Y: coordinate(middle(i)), R: 4, Tip: "base backup " + b.Label})
		}
	}
	c.Legend = []legend{{"span", "any moment"}, {"s3", "base backup"}}
	return c
}

// window returns from when to when a base backup can be recovered along the timeline that
// leads furthest; to is zero if it cannot be. What is included in it counts as a moment.
func window(b *base.Row) (from, to time.Time, timeline string) {
	if b.Backup == nil || b.Problem != "" || !b.Consistent {
		return time.Time{}, time.Time{}, ""
	}
	from, to, timeline = b.Backup.Stopped.UTC(), b.Backup.Stopped.UTC(), strconv.Itoa(int(b.Backup.Timeline))
	for _, t := range b.Reach {
		if t.Time != nil && t.Time.After(to) {
			to, timeline = t.Time.UTC(), strconv.Itoa(int(t.Timeline))
		}
	}
	return from, to, timeline
}

// Cluster names a cluster of PostgreSQL, or a segment of Greenplum.
type Cluster struct{ Namespace, Content string }

// Recoverable returns to which moment each cluster can be recovered that has a base backup.
func (r *Report) Recoverable() map[Cluster]time.Time {
	until := make(map[Cluster]time.Time)
	for i := range r.Bases {
		b := &r.Bases[i]
		key := Cluster{b.Namespace, b.Content}
		if _, to, _ := window(b); to.After(until[key]) {
			until[key] = to
		}
	}
	return until
}
