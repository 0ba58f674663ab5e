// Package plot draws bars and lines as SVG. A drawing is legible on light and on dark: it has a background of its own, and
// follows what the reader's system prefers.
package plot

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/template"
)

// Of all drawings, in pixels.
const (
	width  = 860
	margin = 20
)

// style has the light colours, and the dark ones for those who prefer them. Series 0 is the one that all is about.
const style = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .head { font-weight: 600 }
  .quiet, .tick { fill: #57606a; font-size: 12px }
  .ground { fill: #ffffff }
  .rule { stroke: #d0d7de; stroke-width: 1 }
  .span { stroke: #24292f; stroke-width: 1.2 }
  .line { fill: none; stroke-width: 2.2; stroke-linejoin: round }
  .f0 { fill: #0a7d4f } .f1 { fill: #6e7b8b } .f2 { fill: #8a97a8 } .f3 { fill: #a5b0be } .f4 { fill: #c3ccd6 } .f5 { fill: #dde3ea }
  .s0 { stroke: #0a7d4f } .s1 { stroke: #b3541e } .s2 { stroke: #7a4fb5 } .s3 { stroke: #1f6fb2 } .s4 { stroke: #57606a; stroke-dasharray: 5 4 } .s5 { stroke: #b08c00 }
  .t0 { fill: #0a7d4f } .t1 { fill: #b3541e } .t2 { fill: #7a4fb5 } .t3 { fill: #1f6fb2 } .t4 { fill: #57606a } .t5 { fill: #8a6d00 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet, .tick { fill: #9aa4af }
    .ground { fill: #0d1117 }
    .rule { stroke: #30363d }
    .span { stroke: #e6edf3 }
    .f0 { fill: #2fbf83 } .f1 { fill: #7d8a99 } .f2 { fill: #667280 } .f3 { fill: #525d69 } .f4 { fill: #414a55 } .f5 { fill: #333b44 }
    .s0 { stroke: #2fbf83 } .s1 { stroke: #f0883e } .s2 { stroke: #bc8cff } .s3 { stroke: #58a6ff } .s4 { stroke: #9aa4af } .s5 { stroke: #d9b92f }
    .t0 { fill: #2fbf83 } .t1 { fill: #f0883e } .t2 { fill: #bc8cff } .t3 { fill: #58a6ff } .t4 { fill: #9aa4af } .t5 { fill: #d9b92f }
  }`

var page = template.Must(template.New("svg").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" width="{{.Width}}" height="{{.Height}}" role="img" aria-label="{{.Title}}">
<style>{{.Style}}
</style>
<rect class="ground" width="{{.Width}}" height="{{.Height}}" rx="6"/>
<text class="title" x="{{.Margin}}" y="30">{{.Title}}</text>
<text class="quiet" x="{{.Margin}}" y="50">{{.Note}}</text>
{{.Body}}</svg>
`))

// sheet is a drawing in the making.
type sheet struct{ body bytes.Buffer }

func (s *sheet) text(class string, x, y float64, anchor, text string) {
	fmt.Fprintf(&s.body, `<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`+"\n", class, px(x), px(y), anchor, escape(text))
}

func (s *sheet) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&s.body, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`+"\n", class, px(x1), px(y1), px(x2), px(y2))
}

// bar is a bar; what fill says is told to whoever points at it.
func (s *sheet) bar(class string, x, y, w, h float64, tip string) {
	fmt.Fprintf(&s.body, `<rect class="%s" x="%s" y="%s" width="%s" height="%s" rx="2"><title>%s</title></rect>`+"\n", class, px(x), px(y), px(w), px(h), escape(tip))
}

func (s *sheet) finish(title, note string, height int) ([]byte, error) {
	var out bytes.Buffer
	err := page.Execute(&out, map[string]any{
		"Width": width, "Height": height, "Margin": margin, "Title": escape(title), "Note": escape(note), "Style": style, "Body": s.body.String(),
	})
	return out.Bytes(), err
}

func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func escape(text string) string { return escapes.Replace(text) }

// ticks are round numbers from 0 up to about top, n or so of them, and the step between them.
func ticks(top float64, n int) (marks []float64) {
	if !(top > 0) || math.IsInf(top, 0) {
		return []float64{0, 1}
	}
	raw := top / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * unit
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*unit >= raw*0.999 {
			step = m * unit
			break
		}
	}
	for i := 0; float64(i)*step < top*1.0001+step; i++ {
		marks = append(marks, float64(i)*step)
		if float64(i)*step >= top {
			break
		}
	}
	return marks
}

// Number writes a figure in two or three digits.
func Number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v == 0:
		return "0"
	case math.Abs(v) < 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case math.Abs(v) < 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}
