package main

import (
	"io"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// tablegenDays has bench/tablegen make the table, and one that only grows beside it.
func (w *world) tablegenDays(s settings) (string, error) {
	contenders, err := w.contenders()
	if err != nil {
		return "", err
	}
	heap := generated{tablegen.New(tablegen.Heap, 1, s.rows), tablegen.Daily(tablegen.Heap)}
	if err := w.simulate(heap, contenders, s.days); err != nil {
		return "", err
	}
	grown, err := w.plugin("append-only")
	if err != nil {
		return "", err
	}
	events := generated{tablegen.New(tablegen.AppendOnly, 2, s.rows/2), tablegen.Daily(tablegen.AppendOnly)}
	if err := w.simulate(events, []*contender{grown}, min(s.days, peerDays)); err != nil {
		return "", err
	}
	restores, err := w.restores(s.days)
	if err != nil {
		return "", err
	}
	return report(contenders, s.days) + reportRestores(restores, s.days) + reportGrown(grown), nil
}

// generated is a table of bench/tablegen with what happens to it in a day.
type generated struct {
	table *tablegen.Table
	daily tablegen.Change
}

func (g generated) write(to io.Writer) error {
	_, err := g.table.WriteTo(to)
	return err
}

func (g generated) nextDay() error {
	g.table.NextDay(g.daily)
	return nil
}
