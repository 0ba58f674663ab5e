package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// logicalChart is what could be restored against what that takes.
func logicalChart(r *Report) *chart {
	c := newChart("logical", "What could be restored, and what that takes",
		"Two areas over the days: the size of all backups that are there today by the day they came, and the size of the objects that are there today by the day they were put.")
	c.Note = "Of what is there today, by when it came. What was pruned is not seen."
	days := weekly(r.Days)
	if len(days) == 0 {
		return c
	}
	highest := 0.0
	for i := range days {
		highest = max(highest, float64(days[i].Logical), float64(days[i].Stored))
	}
	x, y := c.daysAxis(days[0].day, days[len(days)-1].day), c.bytesAxis(highest)
	var logical, stored [][2]float64
	floor := make([]float64, len(days))
	for i := range days {
		at := x.at(float64(days[i].day))
		logical = append(logical, [2]float64{at, y.at(float64(days[i].Logical))})
		stored = append(stored, [2]float64{at, y.at(float64(days[i].Stored))})
		floor[i] = c.Plot.Bottom
	}
	if len(days) == 1 {
		logical, stored, floor = widen(logical, c), widen(stored, c), append(floor, floor...)
	}
	c.Shapes = []shape{
		{Class: "area s4", Path: line(logical, floor)},
		{Class: "line s4", Path: line(logical, nil)},
		{Class: "area s1", Path: line(stored, floor)},
		{Class: "line s1", Path: line(stored, nil)},
	}
	c.Legend = []legend{{"s4", "backups, restored"}, {"s1", "stored, with WAL"}}
	c.Table.Head = []string{"Day", "Backups", "Restored", "Stored", "of that WAL", "Added"}
	for i := len(days) - 1; i >= 0; i-- {
		d := &days[i]
		c.Table.Rows = append(c.Table.Rows, []string{d.Date, strconv.Itoa(d.Backups), inBytes(d.Logical), inBytes(d.Stored), inBytes(d.WAL), inBytes(d.Added)})
	}
	return c
}

// widen makes a line of a single day.
func widen(points [][2]float64, c *chart) [][2]float64 {
	return [][2]float64{{c.Plot.Left, points[0][1]}, {c.Plot.Right, points[0][1]}}
}

// growthChart is what is stored, and what is to be expected.
func growthChart(r *Report) *chart {
	c := newChart("growth", "Stored, and what is to come", "The size of the objects that are there today, by the day they were put, WAL below and everything else above; then the size to be expected, with the range in which it lies with a probability of 90 percent.")
	days := weekly(r.Days)
	if len(days) == 0 {
		return c
	}
	first, today := days[0].day, days[len(days)-1].day
	horizon, last := 0, today
	highest := float64(r.Totals.Stored)
	f := r.Forecast
	if f == nil {
		c.Note = fmt.Sprintf("A forecast takes %d days that are over, after the first.", leastDays)
	} else {
		// About as far ahead as there is to look back on.
		for i, p := range f.Points {
			if i == 0 || int64(p.After) <= today-first {
				horizon, last, highest = i, today+int64(p.After), max(highest, float64(p.High))
			}
		}
		c.Note = fmt.Sprintf("%s a day, of the last %d days (90%%: %s to %s). Where backups are deleted it will be less.", inBytes(f.PerDay), f.Days, inBytes(f.Low), inBytes(f.High))
	}
	capacity := f != nil && f.Capacity > 0 && float64(f.Capacity) < 3*highest
	if capacity {
		highest = max(highest, float64(f.Capacity))
	}
	x, y := c.daysAxis(first, last), c.bytesAxis(highest)
	var all, wal [][2]float64
	var floor, onWAL []float64
	for i := range days {
		at, low := x.at(float64(days[i].day)), y.at(float64(days[i].WAL))
		all, wal = append(all, [2]float64{at, y.at(float64(days[i].Stored))}), append(wal, [2]float64{at, low})
		floor, onWAL = append(floor, c.Plot.Bottom), append(onWAL, low)
	}
	if len(days) == 1 && f == nil {
		all, wal = widen(all, c), widen(wal, c)
		floor, onWAL = append(floor, floor...), append(onWAL, onWAL...)
	}
	c.Shapes = append(c.Shapes, shape{Class: "area s1", Path: line(all, onWAL)}, shape{Class: "line s1", Path: line(all, nil)})
	c.Legend = []legend{{"s1", "backups and index"}}
	if r.Totals.WAL > 0 {
		c.Shapes = append(c.Shapes, shape{Class: "area s2", Path: line(wal, floor)}, shape{Class: "line s2", Path: line(wal, nil)})
		c.Legend = append(c.Legend, legend{"s2", "WAL"})
	}
	if f != nil {
		c.drawForecast(f.Points[:horizon+1], x, y, float64(today), float64(r.Totals.Stored))
	}
	if capacity {
		at := y.at(float64(f.Capacity))
		c.Shapes = append(c.Shapes, shape{Class: "line limit", Path: line([][2]float64{{c.Plot.Left, at}, {c.Plot.Right, at}}, nil), Tip: "capacity: " + inBytes(f.Capacity)})
		c.Legend = append(c.Legend, legend{"limit", "capacity"})
	}
	return c
}

func (c *chart) drawForecast(points []Point, x, y axis, today, stored float64) {
	low, mid, high := [][2]float64{}, [][2]float64{}, []float64{}
	add := func(day, l, m, h float64) {
		at := x.at(day)
		low, mid, high = append(low, [2]float64{at, y.at(l)}), append(mid, [2]float64{at, y.at(m)}), append(high, y.at(h))
	}
	add(today, stored, stored, stored)
	for _, p := range points {
		add(today+float64(p.After), float64(p.Low), float64(p.Bytes), float64(p.High))
	}
	c.Shapes = append(c.Shapes, shape{Class: "cone", Path: line(low, high)}, shape{Class: "line ahead", Path: line(mid, nil)})
	c.Legend = append(c.Legend, legend{"cone", "expected, 90%"})
}

// shownBars is how many backups are drawn.
const shownBars = 60

// addedChart is what the newest backups added.
func addedChart(r *Report) *chart {
	c := newChart("added", "What each backup added", "A bar for each of the newest backups, the oldest on the left: by how many bytes the repository grew.")
	var list []*Root
	for i := range r.Backups {
		if b := &r.Backups[i]; !b.Stored.IsZero() && len(list) < shownBars {
			list = append(list, b)
		}
	}
	slices.Reverse(list)
	if len(list) == 0 {
		return c
	}
	var sizes []float64
	for _, b := range list {
		sizes = append(sizes, float64(b.Added))
	}
	slices.Sort(sizes)
	highest, cut := sizes[len(sizes)-1], false
	// A first backup among ordinary ones would leave nothing to be seen of those.
	if usual := sizes[(len(sizes)-1)*9/10]; len(sizes) >= 5 && usual > 0 && highest > 6*usual {
		highest, cut = 1.6*usual, true
		c.Note = "Bars with a gap are longer than is drawn."
	}
	y := c.bytesAxis(highest)
	highest = y.high
	slot := (c.Plot.Right - c.Plot.Left) / float64(len(list))
	wide := math.Min(slot*0.72, 40)
	seen := make(map[string]bool)
	every := max(len(list)/5, 1)
	for i, b := range list {
		at := c.Plot.Left + (float64(i)+0.5)*slot
		top := y.at(math.Min(float64(b.Added), highest))
		class := map[repo.Class]string{repo.Backup: "s1", repo.Base: "s3", repo.Named: "s5"}[b.Class]
		if b.Status == backups.Deleted {
			class = "gone"
		}
		seen[class] = true
		tip := fmt.Sprintf("%s, %s: added %s of %s", b.Name, when(b.Stored), inBytes(b.Added), inBytes(b.Logical))
		c.Shapes = append(c.Shapes, shape{
			Class: "bar " + class, X: coordinate(at - wide/2), Y: coordinate(top), W: coordinate(wide),
			H: coordinate(math.Max(c.Plot.Bottom-top, 2)), Tip: tip,
		})
		if cut && float64(b.Added) > highest {
			c.Shapes = append(c.Shapes, shape{
				Class: "gap", X: coordinate(at - wide/2 - 1), Y: coordinate(top + 12), W: coordinate(wide + 2), H: 4, Tip: tip,
			})
		}
		if (len(list)-1-i)%every == 0 && at > c.Plot.Left+14 && at < c.Plot.Right-10 {
			c.XTicks = append(c.XTicks, tick{coordinate(at), b.Stored.Format("2 Jan")})
		}
	}
	for _, l := range []legend{{"s1", "gpbackup"}, {"s3", "base backup"}, {"s5", "stream"}, {"gone", "deleted"}} {
		if seen[l.Class] {
			c.Legend = append(c.Legend, l)
		}
	}
	return c
}

// walChart is what the WAL archives took, by day.
func walChart(r *Report) *chart {
	c := newChart("wal", "WAL a day", "A bar for each day: how many bytes the WAL files take that were archived on it and are still there.")
	days := weekly(r.Days)
	if r.Totals.WAL == 0 || len(days) == 0 {
		return c
	}
	if len(days) != len(r.Days) {
		c.Title = "WAL a week"
	}
	highest := 0.0
	for i := range days {
		highest = max(highest, float64(days[i].AddWAL))
	}
	y := c.bytesAxis(highest)
	slot := (c.Plot.Right - c.Plot.Left) / float64(len(days))
	wide := math.Min(math.Max(slot*0.72, 0.8), 40)
	every := max(len(days)/5, 1)
	c.Table.Head = []string{"Day", "Stored"}
	for i := range days {
		d := &days[i]
		at, top := c.Plot.Left+(float64(i)+0.5)*slot, y.at(float64(d.AddWAL))
		if d.AddWAL > 0 {
			c.Shapes = append(c.Shapes, shape{
				Class: "bar s2", X: coordinate(at - wide/2), Y: coordinate(top), W: coordinate(wide), H: coordinate(math.Max(c.Plot.Bottom-top, 1)),
				Tip: d.Date + ": " + inBytes(d.AddWAL),
			})
			c.Table.Rows = append(c.Table.Rows, []string{d.Date, inBytes(d.AddWAL)})
		}
		if (len(days)-1-i)%every == 0 && at > c.Plot.Left+14 && at < c.Plot.Right-10 {
			layout := "2 Jan"
			if len(r.Days) > 400 {
				layout = "Jan 2006"
			}
			c.XTicks = append(c.XTicks, tick{coordinate(at), dateOf(d.day).Format(layout)})
		}
	}
	slices.Reverse(c.Table.Rows)
	return c
}

// shownRows bounds how many rows a chart of rows has.
const shownRows = 14

// rowLabel cuts a label to what fits beside a chart.
func rowLabel(s string) string {
	const most = 18
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

// rowsChart prepares a chart with a row for each label.
func rowsChart(c *chart, labels []string) (middle func(row int) float64) {
	const high = 26
	c.Plot.Left = 128
	c.Height = c.Plot.Top + float64(len(labels))*high + 28
	c.Plot.Bottom = c.Height - 28
	for i, l := range labels {
		c.YTicks = append(c.YTicks, tick{coordinate(c.Plot.Top + (float64(i)+0.5)*high), rowLabel(l)})
	}
	return func(row int) float64 { return c.Plot.Top + (float64(row)+0.5)*high }
}

func plural(n int, what string) string {
	return fmt.Sprintf("%d more %s", n, strings.TrimSuffix(what, "s")+"s")
}
