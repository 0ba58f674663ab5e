package plot

import (
	"math"
)

// Bars is a drawing of panels, two beside each other, of bars one below the other.
type Bars struct {
	Title, Note string
	Panels      []Panel
}

// Panel is a few bars that are compared with each other.
type Panel struct {
	Title, Unit string
	Bars        []Bar
}

// Bar is one figure, with the least and the greatest of its rounds. A bar without a value, not a number, is left out.
type Bar struct {
	Label            string
	Value, Low, High float64
	Series           int // its colour: 0 is the one that all is about
}

// Of panels, in pixels.
const (
	barHeight  = 17
	barPitch   = 25
	labelWidth = 126
	valueWidth = 68
	panelGap   = 40
	panelWidth = (width - 2*margin - panelGap) / 2
)

// SVG draws the panels.
func (b Bars) SVG() ([]byte, error) {
	var s sheet
	y := 84.0
	for i := 0; i < len(b.Panels); i += 2 {
		most := 0
		for k, p := range b.Panels[i:min(i+2, len(b.Panels))] {
			p.draw(&s, float64(margin+k*(panelWidth+panelGap)), y)
			most = max(most, len(p.Bars))
		}
		y += float64(38 + most*barPitch)
	}
	return s.finish(b.Title, b.Note, int(y)+4)
}

func (p Panel) draw(s *sheet, x, y float64) {
	s.text("head", x, y, "start", p.Title+", "+p.Unit)
	top := 0.0
	for _, bar := range p.Bars {
		if !math.IsNaN(bar.Value) {
			top = max(top, bar.Value, bar.High)
		}
	}
	if !(top > 0) {
		top = 1
	}
	room := float64(panelWidth - labelWidth - valueWidth)
	left := x + labelWidth
	s.line("rule", left, y+8, left, y+8+float64(len(p.Bars)*barPitch))
	for i, bar := range p.Bars {
		up := y + 12 + float64(i*barPitch)
		middle := up + barHeight/2
		s.text("", left-8, middle+4.5, "end", bar.Label)
		if math.IsNaN(bar.Value) {
			s.text("quiet", left+8, middle+4.5, "start", "–")
			continue
		}
		length := max(1, bar.Value/top*room)
		s.bar("f"+px(float64(bar.Series)), left, up, length, barHeight, bar.Label+": "+Number(bar.Value)+" "+p.Unit)
		end := length
		if bar.High > bar.Low {
			low, high := bar.Low/top*room, bar.High/top*room
			s.line("span", left+low, middle, left+high, middle)
			s.line("span", left+low, middle-3, left+low, middle+3)
			s.line("span", left+high, middle-3, left+high, middle+3)
			end = max(end, high)
		}
		s.text("", left+end+7, middle+4.5, "start", Number(bar.Value))
	}
}
