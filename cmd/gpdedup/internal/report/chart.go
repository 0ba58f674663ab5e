package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
)

// chart is a picture, and the table that says the same. The template makes SVG of it.
type chart struct {
	ID, Title, Desc string
	Note            string // below the title
	Width, Height   float64
	Plot            box
	Shapes          []shape
	XTicks, YTicks  []tick
	Legend          []legend
	Table           table
}

// Empty reports whether there is nothing to draw.
func (c *chart) Empty() bool { return len(c.Shapes) == 0 }

type box struct{ Left, Top, Right, Bottom float64 }

// Coordinates are written with one digit behind the point: a tenth of a pixel.
type coordinate float64

func (c coordinate) String() string {
	return strconv.FormatFloat(math.Round(float64(c)*10)/10, 'f', -1, 64)
}

// shape is a path, or a rectangle, a circle or a text if it has no Path. Tip is shown when
// the mouse is on it.
type shape struct {
	Class, Path, Text, Tip string
	X, Y, W, H, R          coordinate
}

type tick struct {
	At    coordinate
	Label string
}

type legend struct{ Class, Label string }

// table is what stands behind a picture. The cells of the first column name the row.
type table struct {
	Head []string
	Rows [][]string
	More string // what was left out
}

// The size of a picture, in its own units: on a wide screen about a pixel each.
const (
	chartWidth  = 520
	chartHeight = 250
)

func newChart(id, title, desc string) *chart {
	return &chart{
		ID: id, Title: title, Desc: desc, Width: chartWidth, Height: chartHeight,
		Plot: box{78, 12, chartWidth - 12, chartHeight - 28},
	}
}

// axis turns values into places.
type axis struct{ from, to, low, high float64 }

func (a axis) at(v float64) float64 {
	if a.high <= a.low {
		return a.from
	}
	return a.from + (v-a.low)/(a.high-a.low)*(a.to-a.from)
}

// bytesAxis is an upright axis from 0 to highest bytes or somewhat more, with its ticks.
func (c *chart) bytesAxis(highest float64) axis {
	step := byteStep(highest / 4)
	top := math.Max(math.Ceil(highest/step), 1) * step
	a := axis{c.Plot.Bottom, c.Plot.Top, 0, top}
	for v := 0.0; v <= top+step/2; v += step {
		c.YTicks = append(c.YTicks, tick{coordinate(a.at(v)), shortBytes(v)})
	}
	return a
}

// byteStep returns the smallest round number of bytes that is not less than v.
func byteStep(v float64) float64 {
	unit := 1.0
	for v > 512*unit {
		unit *= 1024
	}
	for _, f := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 256, 512} {
		if f*unit >= v {
			return f * unit
		}
	}
	return 1024 * unit
}

// shortBytes formats round numbers of bytes: 5 GiB, 0.
func shortBytes(v float64) string {
	if v == 0 {
		return "0"
	}
	number, unit, _ := strings.Cut(inBytes(v), " ")
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return number + " " + unit
}

func inBytes[N ~int64 | ~uint64 | ~float64](n N) string {
	if float64(n) >= math.MaxInt64 {
		return size.Format(math.MaxInt64)
	}
	return size.Format(int64(n))
}

// daysAxis is a level axis from the first to the last day, with its ticks.
func (c *chart) daysAxis(first, last int64) axis {
	last = max(last, first+1)
	a := axis{c.Plot.Left, c.Plot.Right, float64(first), float64(last)}
	const labels = 7
	step := int64(1)
	for _, s := range []int64{1, 2, 5, 7, 14, 30, 61, 91, 182, 365, 730, 1826, 3652} {
		if step = s; (last-first)/s <= labels {
			break
		}
	}
	layout := "2 Jan"
	if last-first > 400 {
		layout = "Jan 2006"
	}
	// From the last one backwards, and none so near the edge that it would be cut off.
	for day := last; day >= first; day -= step {
		if x := a.at(float64(day)); x > c.Plot.Left+14 && x < c.Plot.Right-14 || step == 1 {
			c.XTicks = append(c.XTicks, tick{coordinate(x), dateOf(day).Format(layout)})
		}
	}
	return a
}

// line is a path through points; down, if not nil, closes it to an area.
func line(points [][2]float64, down []float64) string {
	var b strings.Builder
	for i, p := range points {
		letter := byte('L')
		if i == 0 {
			letter = 'M'
		}
		fmt.Fprintf(&b, "%c%s %s", letter, coordinate(p[0]), coordinate(p[1]))
	}
	for i := len(points) - 1; i >= 0 && down != nil; i-- {
		fmt.Fprintf(&b, "L%s %s", coordinate(points[i][0]), coordinate(down[i]))
	}
	if down != nil {
		b.WriteByte('Z')
	}
	return b.String()
}

// weekly keeps every seventh day if there are more than a year of them, always the last.
func weekly(days []Day) []Day {
	if len(days) <= 370 {
		return days
	}
	var out []Day
	for i := (len(days) - 1) % 7; i < len(days); i += 7 {
		d := days[i]
		d.Added, d.AddWAL, d.Backups = 0, 0, 0
		for _, x := range days[max(i-6, 0) : i+1] {
			d.Added, d.AddWAL, d.Backups = d.Added+x.Added, d.AddWAL+x.AddWAL, d.Backups+x.Backups
		}
		out = append(out, d)
	}
	return out
}

func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

func ratio(whole, part float64) string {
	if part <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f×", whole/part)
}
