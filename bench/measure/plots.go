//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/plot"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/internal/sample"
)

// drawing is a plot of some topics; nil if they have no results.
type drawing struct {
	name string
	draw func(r *results.Results) ([]byte, error)
}

var drawings = []drawing{
	{"throughput", func(r *results.Results) ([]byte, error) {
		return phaseBars(r.Topics["table"], "Throughput", "MB of text a second, median of all rounds; more is better", "MB/s", results.Rate, true)
	}},
	{"cpu", func(r *results.Results) ([]byte, error) {
		return phaseBars(r.Topics["table"], "Processor time", "Seconds of all cores for a GB of text; less is better", "s/GB", results.CPUPerGB, true)
	}},
	{"memory", func(r *results.Results) ([]byte, error) {
		return phaseBars(r.Topics["table"], "Peak memory", "Resident, in MiB; less is better", "MiB", results.Peak, false)
	}},
	{"workloads", workloadBars},
	{"small", smallBars},
	{"growth", growthLines},
	{"wal", walBars},
}

// draw writes all plots that there are results for.
func draw(dir string, r *results.Results) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range drawings {
		svg, err := d.draw(r)
		if err != nil {
			return fmt.Errorf("draw %s: %w", d.name, err)
		}
		if svg == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, d.name+".svg"), svg, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// colour is that of a program in all plots.
func colour(name string) int {
	if i := slices.Index(contender.Names(), name); i >= 0 {
		return i
	}
	if strings.HasPrefix(name, "pgBackRest") {
		return 1
	}
	return 4
}

// bar makes a bar of a figure. There is none where there is no figure.
func bar(bars []plot.Bar, label, name string, s sample.Sample) []plot.Bar {
	if len(s) == 0 || math.IsNaN(s.Median()) {
		return bars
	}
	return append(bars, plot.Bar{Label: label, Value: s.Median(), Low: slices.Min(s), High: slices.Max(s), Series: colour(name)})
}

// panel has all programs of a topic, and tools, in a phase.
func panel(t *results.Topic, title, unit, phase string, figure results.Figure, tools ...string) plot.Panel {
	p := plot.Panel{Title: title, Unit: unit}
	for _, name := range programNames(t, tools...) {
		p.Bars = bar(p.Bars, name, name, figure(t.Find(name, phase)))
	}
	return p
}

func phaseBars(t *results.Topic, title, note, unit string, figure results.Figure, withTools bool) ([]byte, error) {
	if t == nil {
		return nil, nil
	}
	b := plot.Bars{Title: title, Note: note + fmt.Sprintf(". Table text, %s, %d cores.", lengthOf(t, first), t.Taken.Cores)}
	for _, x := range []struct{ phase, title string }{
		{first, "First backup"},
		{unchanged, "Unchanged"},
		{next, "Next day, 1.3 % changed"},
		{restored, "Restore"},
	} {
		var tools []string
		if withTools { // cp would leave no room for the others
			tools = []string{zstdName, unzstdName, blake3Name}
		}
		b.Panels = append(b.Panels, panel(t, x.title, unit, x.phase, figure, tools...))
	}
	return b.SVG()
}

func workloadBars(r *results.Results) ([]byte, error) {
	b := plot.Bars{Title: "Other workloads", Note: "MB a second, median of all rounds; more is better"}
	for _, x := range []struct{ topic, title string }{{"append", "Grows at its end"}, {"noise", "Incompressible"}, {"large", "One long stream"}} {
		t := r.Topics[x.topic]
		if t == nil {
			continue
		}
		second := choose(x.topic == "append", next, unchanged)
		b.Panels = append(b.Panels,
			panel(t, x.title+": first", "MB/s", first, results.Rate),
			panel(t, x.title+": "+second, "MB/s", second, results.Rate))
	}
	if len(b.Panels) == 0 {
		return nil, nil
	}
	return b.SVG()
}

func smallBars(r *results.Results) ([]byte, error) {
	t := r.Topics["small"]
	if t == nil {
		return nil, nil
	}
	return plot.Bars{
		Title: "A table of 10 KB", Note: "Milliseconds of a process of its own, everything durable; less is better",
		Panels: []plot.Panel{
			panel(t, "Store", "ms", storing, results.StreamTime, shellName),
			panel(t, "Restore", "ms", reading, results.StreamTime, shellName),
		},
	}.SVG()
}

func growthLines(r *results.Results) ([]byte, error) {
	t := r.Topics["days"]
	if t == nil {
		return nil, nil
	}
	l := plot.Lines{
		Title: "What the days take", X: "days, each with 1.3 % of the rows changed all over, all kept in full", Y: "MB",
		Note: fmt.Sprintf("The repository after each daily backup of a table of %s of text", lengthOf(t, aDay)),
	}
	for _, name := range programNames(t, zstdName) {
		if s := results.Stored(t.Find(name, aDay)); len(s) > 0 {
			l.Series = append(l.Series, plot.Line{Label: name, Points: s, Series: colour(name)})
		}
	}
	return l.SVG()
}

func walBars(r *results.Results) ([]byte, error) {
	t := r.Topics["wal"]
	if t == nil {
		return nil, nil
	}
	// Plain cp, which syncs nothing, would leave no room for the others but where a server takes its time.
	labels := [][2]string{
		{contender.Gpdedup, contender.Gpdedup},
		{pgBackRest, "pgBackRest"},
		{pgBackRestAsync, "pgBackRest async"},
		{"pgBackRest", "pgBackRest"},
		{"pgBackRest, asynchronous", "pgBackRest async"},
		{"cp and fsync", "cp and fsync"},
		{cpName, cpName},
	}
	b := plot.Bars{Title: "PostgreSQL's WAL", Note: "Segments of 16 MiB a second, pgBackRest with zst 1; more is better, but for the replay"}
	for _, x := range []struct {
		phase, title, unit string
		figure             results.Figure
	}{
		{walOne, "Pushed one by one", "segments/s", results.StreamRate},
		{walMany, "Pushed from a backlog", "segments/s", results.StreamRate},
		{walFetch, "Fetched", "segments/s", results.StreamRate},
		{walReplay, "Replayed by a server", "s", results.Wall},
	} {
		p := plot.Panel{Title: x.title, Unit: x.unit}
		for _, l := range labels {
			if l[0] == cpName && x.phase != walReplay {
				continue
			}
			p.Bars = bar(p.Bars, l[1], l[0], x.figure(t.Find(l[0], x.phase)))
		}
		if len(p.Bars) > 0 {
			b.Panels = append(b.Panels, p)
		}
	}
	return b.SVG()
}
