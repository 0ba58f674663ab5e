//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/internal/sample"
)

// goal is a bound for a figure, which is a ratio of what was taken in the same run, or stands for itself.
type goal struct {
	what    string
	bound   float64
	least   bool
	unit    string
	measure func(r *results.Results) measured
}

// measured is a goal's figure; without samples it is not known.
type measured struct {
	sample.Sample
	figure float64 // the ratio of the medians
	with   string  // what it was compared with
}

func ratio(ours, theirs sample.Sample, with string) measured {
	if len(ours) == 0 || len(theirs) == 0 {
		return measured{}
	}
	return measured{ours.Over(theirs), ours.Median() / theirs.Median(), with}
}

// best compares a phase with the fastest peer.
func best(topic, phase string) func(*results.Results) measured {
	return func(r *results.Results) measured {
		t := r.Topics[topic]
		peer := t.Best(phase, results.Rate, true)
		return ratio(results.Rate(t.Find(contender.Gpdedup, phase)), results.Rate(t.Find(peer, phase)), peer)
	}
}

// sizeOfBest compares what is stored with the fastest peer's.
func sizeOfBest(r *results.Results) measured {
	t := r.Topics["table"]
	peer := t.Best(first, results.Rate, true)
	return ratio(results.Stored(t.Find(contender.Gpdedup, first)), results.Stored(t.Find(peer, first)), peer)
}

// against compares a phase with another program's, or with another phase of gpdedup.
func against(topic, phase, program, other string, figure results.Figure) func(*results.Results) measured {
	return func(r *results.Results) measured {
		t := r.Topics[topic]
		return ratio(figure(t.Find(contender.Gpdedup, phase)), figure(t.Find(program, other)), "")
	}
}

// peak is memory that stands for itself.
func peak(phase string) func(*results.Results) measured {
	return func(r *results.Results) measured {
		s := results.Anon(r.Topics["large"].Find(contender.Gpdedup, phase))
		return measured{s, s.Median(), ""}
	}
}

// Names that bench/wal gives: its phases, and the ways to archive.
const (
	walOne, walMany, walFetch, walReplay = "push, one by one", "push, from a backlog", "fetch", "replay"

	pgBackRest      = "pgBackRest, zst 1"
	pgBackRestAsync = "pgBackRest, zst 1, asynchronous, 2 processes"
	slowStorage     = "gpdedup, each request to the storage 100 ms longer"
)

// fetched compares with the faster of pgBackRest's ways.
func fetched(r *results.Results) measured {
	t := r.Topics["wal"]
	ours, name := results.StreamRate(t.Find(contender.Gpdedup, walFetch)), ""
	var theirs sample.Sample
	for _, n := range []string{"pgBackRest", "pgBackRest, asynchronous"} {
		if s := results.StreamRate(t.Find(n, walFetch)); len(s) > 0 && (name == "" || s.Median() > theirs.Median()) {
			theirs, name = s, n
		}
	}
	return ratio(ours, theirs, name)
}

func slowReplay(r *results.Results) measured {
	t := r.Topics["wal"]
	return ratio(results.Wall(t.Find(slowStorage, walReplay)), results.Wall(t.Find(cpName, walReplay)), "")
}

// goals are those of the project that one run can show.
var goals = []goal{
	{"first backup / the fastest peer's", 1.5, true, "", best("table", first)},
	{"… what it stores / what that peer stores", 1, false, "", sizeOfBest},
	{"next day's backup, 1.3 % changed / the fastest peer's", 2, true, "", best("table", next)},
	{"unchanged backup / the fastest peer's", 4, true, "", best("table", unchanged)},
	{"unchanged backup / one thread of BLAKE3, through the same pipe", 0.6, true, "", against("table", unchanged, blake3Name, unchanged, results.Rate)},
	{"restore / the fastest peer's", 2, true, "", best("table", restored)},
	{"restore / `zstd -d -c`, through a pipe", 0.9, true, "", against("table", restored, unzstdName, restored, results.Rate)},
	{"restore / `zstd -d -c`, to /dev/null", 0.9, true, "", against("table", toNull, unzstdName, toNull, results.Rate)},
	{"many tables of 10 KB, time / a shell with equal durability", 2, false, "", against("small", storing, shellName, storing, results.StreamTime)},
	{"first backup / what cutting, naming, compressing, encrypting allow, on all cores", 0.8, true, "", against("table", first, partsName, partsTotal, results.Rate)},
	{"unchanged backup / first", 2.5, true, "", against("table", unchanged, contender.Gpdedup, first, results.Rate)},
	{"unchanged, on a host with an empty cache / first", 2.5, true, "", against("table", elsewhere, contender.Gpdedup, first, results.Rate)},
	{"memory of a long stream's first backup", 128, false, " MiB", peak(first)},
	{"… of its unchanged backup", 128, false, " MiB", peak(unchanged)},
	{"… of its restore", 128, false, " MiB", peak(restored)},
	{"WAL pushed one by one / pgBackRest, zst 1", 1.3, true, "", against("wal", walOne, pgBackRest, walOne, results.StreamRate)},
	{"WAL pushed from a backlog / pgBackRest asynchronous, 2 processes", 1.3, true, "", against("wal", walMany, pgBackRestAsync, walMany, results.StreamRate)},
	{"WAL stored / pgBackRest, zst 1", 1, false, "", against("wal", walMany, pgBackRest, walMany, results.Stored)},
	{"WAL fetched / pgBackRest's faster way", 1.5, true, "", fetched},
	{"replay, time / with `cp`", 1.1, false, "", against("wal", walReplay, cpName, walReplay, results.Wall)},
	{"replay with 100 ms added to each request, time / with `cp`", 1.1, false, "", slowReplay},
}

// met says whether it is.
func (g goal) met(figure float64) bool {
	if g.least {
		return figure >= g.bound
	}
	return figure <= g.bound
}

// goalsText is the table of all goals whose figures are known.
func goalsText(r *results.Results) string {
	var rows [][]string
	met := 0
	for _, g := range goals {
		m := g.measure(r)
		if len(m.Sample) == 0 || math.IsNaN(m.figure) {
			continue
		}
		sign, word := "≤", "**no**"
		if g.least {
			sign = "≥"
		}
		if g.met(m.figure) {
			word = "yes"
			met++
		}
		what := g.what
		if m.with != "" {
			what += " (" + m.with + ")"
		}
		format := "%.2f"
		if g.unit != "" {
			format = "%.0f"
		}
		rows = append(rows, []string{what, m.FormatAs(m.figure, format) + g.unit, fmt.Sprintf("%s %g%s", sign, g.bound, g.unit), word})
	}
	if len(rows) == 0 {
		return ""
	}
	head := []string{"goal", "measured", "wanted", "met"}
	return fmt.Sprintf("%d of %d are met.\n\n", met, len(rows)) + strings.TrimSuffix(markdownTable(head, rows), "\n") + "\n"
}
