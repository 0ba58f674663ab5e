package plot

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Lines is a drawing of what grows.
type Lines struct {
	Title, Note string
	X, Y        string // what the axes show; Y with its unit
	Series      []Line
}

// Line is one series: its points lie at 1, 2, 3 … of the x axis.
type Line struct {
	Label  string
	Points []float64
	Series int // its colour
}

// Of the axes, in pixels.
const (
	linesHeight = 400
	axisLeft    = 74
	axisTop     = 88
	axisBottom  = linesHeight - 50
	axisRight   = width - 190 // behind it are the labels
	labelPitch  = 17
)

// SVG draws the lines.
func (l Lines) SVG() ([]byte, error) {
	var s sheet
	top, n := 0.0, 1
	for _, line := range l.Series {
		n = max(n, len(line.Points))
		for _, v := range line.Points {
			top = max(top, v)
		}
	}
	marks := ticks(top, 5)
	top = marks[len(marks)-1]
	x := func(i int) float64 { return axisLeft + (axisRight-axisLeft)*float64(i)/float64(max(1, n-1)) }
	y := func(v float64) float64 { return axisBottom - (axisBottom-axisTop)*v/top }
	for _, m := range marks {
		s.line("rule", axisLeft, y(m), axisRight, y(m))
		s.text("tick", axisLeft-8, y(m)+4, "end", Number(m))
	}
	step := (n + 11) / 12
	for i := 0; i < n; i += step {
		s.text("tick", x(i), axisBottom+18, "middle", fmt.Sprint(i+1))
	}
	s.text("quiet", (axisLeft+axisRight)/2, axisBottom+38, "middle", l.X)
	s.text("quiet", axisLeft-8, axisTop-10, "end", l.Y)
	type label struct {
		y    float64
		line Line
		last float64
	}
	var labels []label
	for _, line := range slices.Backward(l.Series) { // the first comes last, above the others
		if len(line.Points) == 0 {
			continue
		}
		var points []string
		for i, v := range line.Points {
			points = append(points, px(x(i))+","+px(y(v)))
		}
		fmt.Fprintf(&s.body, `<polyline class="line s%d" points="%s"><title>%s</title></polyline>`+"\n", line.Series, strings.Join(points, " "), escape(line.Label))
		last := line.Points[len(line.Points)-1]
		labels = append(labels, label{y(last), line, last})
	}
	// Labels that would lie on each other are moved apart, from above to below and back.
	slices.SortFunc(labels, func(a, b label) int { return int(math.Copysign(1, a.y-b.y)) })
	for i := 1; i < len(labels); i++ {
		labels[i].y = max(labels[i].y, labels[i-1].y+labelPitch)
	}
	for i := len(labels) - 1; i >= 0; i-- {
		limit := float64(axisBottom)
		if i+1 < len(labels) {
			limit = labels[i+1].y - labelPitch
		}
		labels[i].y = min(labels[i].y, limit)
	}
	for _, at := range labels {
		s.text(fmt.Sprintf("t%d", at.line.Series), x(len(at.line.Points)-1)+9, at.y+4.5, "start", at.line.Label+" "+Number(at.last))
	}
	return s.finish(l.Title, l.Note, linesHeight)
}
