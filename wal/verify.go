package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
)

// isObjectError reports whether err is about one object, not about the way to it.
func isObjectError(err error) bool {
	return errors.Is(err, ErrAbsent) || errors.Is(err, repo.ErrDamaged) || errors.Is(err, repo.ErrNewer) || errors.Is(err, ErrForeign)
}

// Problem is something that verify found.
type Problem struct {
	Severity string `json:"severity"` // "lost": a recovery will fail there; "warning": nothing is lost, but somebody should know
	Kind     string `json:"kind"`     // damaged, gap, newer, history, orphan, partial, conflict, backup, foreign
	System   string `json:"system_identifier"`
	Timeline uint32 `json:"timeline,omitempty"`
	Object   string `json:"object"` // file, or range of files
	Problem  string `json:"problem"`
}

// Verification is what Verify found, in JSON as `wal verify` prints it.
type Verification struct {
	Survey
	Files     int       `json:"files"` // looked at
	BytesRead int64     `json:"bytes_read"`
	Problems  []Problem `json:"problems"`
}

// Lost reports whether anything was found that will fail a recovery.
func (v *Verification) Lost() int {
	n := 0
	for _, p := range v.Problems {
		if p.Severity == lost {
			n++
		}
	}
	return n
}

const (
	lost    = "lost"
	warning = "warning"
)

// Verify checks that every file can be read, all of it if data is set, else its
// metadata, and that none is missing between them. progress, if not nil, is told how
// many of how many bytes were dealt with.
func (a *Archive) Verify(ctx context.Context, data bool, progress func(done, total int64)) (*Verification, error) {
	survey, err := a.Survey(ctx)
	if err != nil {
		return nil, err
	}
	v := &verifier{Verification: &Verification{Survey: *survey, Problems: []Problem{}}, a: a, data: data, progress: progress}
	for i := range v.Epochs {
		for _, stored := range v.Epochs[i].files {
			v.total += stored
		}
	}
	for i := range v.Epochs {
		if err := v.files(ctx, &v.Epochs[i]); err != nil {
			return nil, err
		}
		v.structure(&v.Epochs[i])
	}
	slices.SortFunc(v.Problems, func(x, y Problem) int {
		return cmp.Or(cmp.Compare(x.Severity, y.Severity), cmp.Compare(x.System, y.System), cmp.Compare(x.Object, y.Object), cmp.Compare(x.Kind, y.Kind))
	})
	return v.Verification, nil
}

type verifier struct {
	*Verification
	a        *Archive
	data     bool
	progress func(done, total int64)

	mu          sync.Mutex // guards what follows, and Verification
	done, total int64
}

func (v *verifier) report(severity, kind string, e *EpochSurvey, timeline uint32, object, format string, args ...any) {
	v.Problems = append(v.Problems, Problem{
		Severity: severity, Kind: kind, System: e.System, Timeline: timeline, Object: object, Problem: fmt.Sprintf(format, args...),
	})
}

// files reads every file of an epoch.
func (v *verifier) files(ctx context.Context, e *EpochSurvey) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(requestsAtOnce)
	if v.data {
		g.SetLimit(max(1, v.a.opener.lanes/2)) // each is decoded by several, and held in memory
	}
	for name, stored := range e.files {
		g.Go(func() error {
			info, content, err := v.read(ctx, e.epoch, name)
			if err != nil && (!isObjectError(err) || ctx.Err() != nil) {
				return err
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			v.done += stored
			if v.progress != nil {
				v.progress(v.done, v.total)
			}
			if errors.Is(err, ErrAbsent) {
				return nil // removed meanwhile
			}
			v.Files++
			v.BytesRead += int64(metaEnd)
			if v.data {
				v.BytesRead += stored - metaEnd
			}
			switch {
			case errors.Is(err, repo.ErrNewer):
				v.report(lost, "newer", e, name.Timeline, name.String(), "%v", err)
			case err != nil:
				v.report(lost, "damaged", e, name.Timeline, name.String(), "%v", err)
			case name.isSegment() && info.SegmentSize != e.SegmentSize:
				v.report(lost, "conflict", e, name.Timeline, name.String(), "segments of %d bytes, others have %d", info.SegmentSize, e.SegmentSize)
			case v.data:
				v.content(e, name, info, content)
			}
			return nil
		})
	}
	return g.Wait()
}

func (v *verifier) read(ctx context.Context, epoch SystemID, name Name) (*Info, []byte, error) {
	if v.data {
		return v.a.Get(ctx, epoch, name)
	}
	info, err := v.a.Stat(ctx, epoch, name)
	return info, nil, err
}

// content looks at what a file says.
func (v *verifier) content(e *EpochSurvey, name Name, info *Info, data []byte) {
	var err error
	switch name.Kind {
	case Segment:
		err = checkPages(info, data)
	case History:
		_, err = ParseHistory(name.Timeline, data)
	case Backup:
		_, err = ParseLabel(data)
	}
	if err != nil {
		// It is what was pushed: the server wrote it so, or its disk changed it.
		v.report(lost, "damaged", e, name.Timeline, name.String(), "stored as it was pushed, but: %v", err)
	}
}

// structure reports what is missing between the files.
func (v *verifier) structure(e *EpochSurvey) {
	for i := range e.Timelines {
		t := &e.Timelines[i]
		for _, g := range t.Gaps {
			if e.retained(g) {
				v.report(warning, "gap", e, t.Timeline, g.First,
					"%d removed between base backups, of which the older is kept as it was at its end: %s to %s", g.Missing, g.First, g.Last)
				continue
			}
			v.report(lost, "gap", e, t.Timeline, g.First, "%d missing: %s to %s", g.Missing, g.First, g.Last)
		}
		for _, o := range t.Orphans {
			v.report(warning, "orphan", e, t.Timeline, o.First,
				"%d written on timeline %d after another had branched off: %s to %s", o.Segments, t.Timeline, o.First, o.Last)
		}
		history := Name{Kind: History, Timeline: t.Timeline}.String()
		switch {
		case t.Timeline > 1 && !t.History:
			v.report(lost, "history", e, t.Timeline, history, "missing: servers cannot tell where timeline %d came from", t.Timeline)
		case t.History && len(t.branches) == 0 && t.Timeline > 1:
			v.report(warning, "history", e, t.Timeline, history, "names no ancestor")
		}
		v.contradictions(e, t)
		for _, p := range t.Partials {
			v.partial(e, t, p)
		}
	}
	for _, b := range e.Backups {
		if !b.Consistent {
			v.report(lost, "backup", e, 0, b.File, "base backup %q cannot be restored: not all from %s to %s is there", b.Label, b.Start, b.Stop)
		}
	}
	for _, key := range e.Foreign {
		v.report(warning, "foreign", e, 0, key, "none of gpdedup's objects")
	}
}

// retained reports whether a gap begins where one base backup is consistent, and ends where
// another starts: so a retention policy leaves it.
func (e *EpochSurvey) retained(g Gap) bool {
	first, err := ParseName(g.First)
	last, lerr := ParseName(g.Last)
	from, fok := first.Number(e.SegmentSize)
	to, tok := last.Number(e.SegmentSize)
	if err != nil || lerr != nil || !fok || !tok {
		return false
	}
	ends, begins := false, false
	for _, b := range e.Backups {
		start, err := ParseName(b.Start)
		stop, serr := ParseName(b.Stop)
		if err != nil || serr != nil {
			continue
		}
		if n, ok := stop.Number(e.SegmentSize); ok && n+1 == from {
			ends = true
		}
		if n, ok := start.Number(e.SegmentSize); ok && n == to+1 {
			begins = true
		}
	}
	return ends && begins
}

// contradictions compares what a history says with those of its ancestors.
func (v *verifier) contradictions(e *EpochSurvey, t *TimelineSurvey) {
	for i, b := range t.branches {
		at := slices.IndexFunc(e.Timelines, func(o TimelineSurvey) bool { return o.Timeline == b.Timeline })
		if at < 0 || !e.Timelines[at].History {
			continue
		}
		same := func(x, y Branch) bool { return x.Timeline == y.Timeline && x.End == y.End }
		if !slices.EqualFunc(e.Timelines[at].branches, t.branches[:i], same) {
			v.report(lost, "conflict", e, t.Timeline, Name{Kind: History, Timeline: t.Timeline}.String(),
				"contradicts %s about where timeline %d came from", Name{Kind: History, Timeline: b.Timeline}, b.Timeline)
		}
	}
}

// partial looks whether what a .partial holds is elsewhere too: as the whole segment,
// or as the first of the timeline that branched off in it.
func (v *verifier) partial(e *EpochSurvey, t *TimelineSurvey, file string) {
	name, err := ParseName(file)
	if err != nil {
		return
	}
	for other := range e.files {
		if other.Kind == Segment && other.Timeline >= t.Timeline && other.Position() == name.Position() {
			return
		}
	}
	v.report(warning, "partial", e, t.Timeline, file, "the only copy of this segment: no recovery asks for it; rename it without .partial to use it")
}
