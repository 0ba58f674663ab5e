package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/gpdedup/gpdedup/repo"
)

// RepoStatsCmd is gpdedup repo stats.
type RepoStatsCmd struct{}

// Help shows an example.
func (RepoStatsCmd) Help() string {
	return `Logical is what a restore gives; new is the part of it that the repository did not
hold before; stored is what was written for it, compressed. All of it is about the time
when it was stored: to delete a backup frees only what no other one needs.

With --namespace it is about one cluster; the table of objects is always that of the
whole repository.

Examples:

	gpdedup repo stats
	gpdedup repo stats --namespace sales
`
}

// Run says how much the repository holds.
func (RepoStatsCmd) Run(g *Globals) error {
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	update, done := g.lateProgress("reading manifests", countOnly)
	report, err := r.Stats(g.Context(), repo.StatsOptions{Namespace: g.namespaceFlag, Progress: update})
	done()
	if err != nil {
		return fmt.Errorf("count repository: %w", err)
	}
	if report.Objects == nil {
		report.Objects = []repo.ObjectStats{}
	}
	if report.Roots == nil {
		report.Roots = []repo.RootStats{}
	}
	return g.Print(report, func(w io.Writer) { writeStats(w, report, g.namespaceFlag) })
}

func writeStats(w io.Writer, report *repo.StatsReport, namespace string) {
	t := newTable(w)
	row(t, "NAMESPACE", "WHAT", "TIME", "STREAMS", "LOGICAL", "NEW", "AS DELTAS", "STORED", "RATIO")
	for _, root := range report.Roots {
		what := root.Group
		if root.Item != "" {
			what = repo.Name{Class: root.Class, Group: root.Group, Item: root.Item}.String()
		}
		var notes []string
		if root.Deleted {
			notes = append(notes, "deleted")
		}
		if root.Damaged > 0 {
			notes = append(notes, count(root.Damaged, "manifest")+" damaged")
		}
		row(t, root.Namespace, what, formatTime(root.Time), root.Streams, formatBytes(root.Logical), formatBytes(root.New), formatBytes(root.Delta),
			formatBytes(root.Stored), formatRatio(root.Logical, root.Stored), strings.Join(notes, ", "))
	}
	stored := uint64(report.Stored)
	if namespace != "" { // of what all share no part is anybody's
		stored = 0
		for _, root := range report.Roots {
			stored += root.Stored
		}
	}
	row(t, "all", "", "", report.Streams, formatBytes(report.Logical), formatBytes(report.New), formatBytes(report.Delta),
		formatBytes(stored), formatRatio(report.Logical, stored))
	_ = t.Flush() // to a buffer
	if report.DeltaStored > 0 {
		say(w, "")
		say(w, "deltas: %s of new chunks take %s; %s of bases were read to make them",
			formatBytes(report.Delta), formatBytes(report.DeltaStored), formatBytes(report.BaseRead))
	}
	say(w, "")
	t = newTable(w)
	row(t, "OBJECTS", "COUNT", "SIZE")
	for _, o := range report.Objects {
		row(t, o.Kind, o.Count, formatBytes(o.Bytes))
	}
	_ = t.Flush() // to a buffer
}
