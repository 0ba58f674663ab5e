package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// WalListCmd is gpdedup wal list.
type WalListCmd struct{}

// Help shows examples.
func (WalListCmd) Help() string {
	return `Shows, for every cluster and timeline, which segments follow each other, what is
missing between them, how far each base backup can be recovered, and from where on
standbys need the WAL. Without --content, all content ids of the namespace are shown.
The files themselves are not read; for that there is 'gpdedup wal verify'.

Examples:

	gpdedup wal list --cluster main
	gpdedup wal list --cluster main --json
`
}

type walListReport struct {
	Archives      []*wal.Survey      `json:"archives"`
	RestorePoints []wal.RestorePoint `json:"restore_points"`
}

// Run lists archives.
func (c *WalListCmd) Run(g *Globals, w *WalCmd) error {
	r, archives, err := w.openAll(g, "read")
	if err != nil {
		return err
	}
	defer r.Close()
	report := walListReport{Archives: []*wal.Survey{}}
	for _, a := range archives {
		s, err := a.Survey(g.Context())
		if err != nil {
			return fmt.Errorf("wal list: %w", err)
		}
		report.Archives = append(report.Archives, s)
	}
	if report.RestorePoints, err = wal.RestorePoints(g.Context(), r, g.Namespace); err != nil {
		return fmt.Errorf("wal list: %w", err)
	}
	empty := true
	for _, s := range report.Archives {
		empty = empty && len(s.Epochs) == 0
	}
	others := ""
	if empty {
		if others, err = otherArchives(g, r); err != nil {
			return fmt.Errorf("wal list: %w", err)
		}
	}
	return g.Print(report, func(out io.Writer) {
		for _, s := range report.Archives {
			writeSurvey(out, s)
		}
		for _, p := range report.RestorePoints {
			say(out, "restore point %s: of %s, on %s", p.Name, formatTime(p.Time), count(len(p.Points), "content"))
		}
		if empty {
			say(out, "no WAL is archived in namespace %s%s", g.Namespace, others)
		}
	})
}

// openAll opens the archives that are meant: that of --content, or all.
func (w *WalCmd) openAll(g *Globals, operation string) (*repo.Repo, []*wal.Archive, error) {
	if !w.everyContent {
		r, a, err := w.openWAL(g, operation)
		return r, []*wal.Archive{a}, err
	}
	g.CacheDir = ""
	r, err := g.Open(operation)
	if err != nil {
		return nil, nil, err
	}
	contents, err := wal.Contents(g.Context(), r, g.Namespace)
	if err != nil {
		return nil, nil, err
	}
	var archives []*wal.Archive
	for _, content := range contents {
		a, err := wal.Open(r, g.Namespace, content)
		if err != nil {
			return nil, nil, err
		}
		archives = append(archives, a)
	}
	return r, archives, nil
}

func writeSurvey(w io.Writer, s *wal.Survey) {
	for i := range s.Epochs {
		e := &s.Epochs[i]
		content := ""
		if s.Content != wal.DefaultContent {
			content = ", content " + s.Content
		}
		say(w, "%s%s, system %s: %s of %s, %s stored", s.Namespace, content, e.System,
			count(e.Segments, "segment"), formatBytes(uint64(e.SegmentSize)), formatBytes(e.Stored))
		for j := range e.Timelines {
			writeTimeline(w, &e.Timelines[j])
		}
		for _, b := range e.Backups {
			verdict := "recovers to the end of " + b.Until
			if !b.Consistent {
				verdict = "CANNOT be restored: WAL is missing between " + b.Start + " and " + b.Stop
			}
			say(w, "  base backup %q of %s, from %s: %s", b.Label, b.Started, b.Start, verdict)
		}
		for _, m := range e.Standbys {
			say(w, "  standby %s needs everything from %s (%s, host %s)", m.Standby, m.From, formatTime(m.Time), m.Host)
		}
		for _, key := range e.Foreign {
			say(w, "  warning: %s is none of gpdedup's objects", key)
		}
	}
}

func writeTimeline(w io.Writer, t *wal.TimelineSurvey) {
	origin := ""
	if t.Parent > 0 {
		origin = fmt.Sprintf(", from timeline %d at %s", t.Parent, t.BranchedAt)
	} else if t.Timeline > 1 && !t.History {
		origin = ", its .history is MISSING"
	}
	say(w, "  timeline %d%s", t.Timeline, origin)
	for _, r := range t.Ranges {
		say(w, "    %s to %s: %s, %s stored", r.First, r.Last, count(r.Segments, "segment"), formatBytes(r.Stored))
	}
	for _, gap := range t.Gaps {
		say(w, "    GAP: %s to %s: %d missing", gap.First, gap.Last, gap.Missing)
	}
	for _, o := range t.Orphans {
		say(w, "    orphans: %s to %s: written after another timeline had branched off", o.First, o.Last)
	}
	if len(t.Partials) > 0 {
		say(w, "    %s", strings.Join(t.Partials, ", "))
	}
}
