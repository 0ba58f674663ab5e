package wal

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// ParseSystemID reads a system identifier as pg_controldata prints it.
func ParseSystemID(decimal string) (SystemID, error) {
	v, err := strconv.ParseUint(decimal, 10, 64)
	if err != nil || v == 0 {
		return 0, fmt.Errorf("%.40q is not a system identifier", decimal)
	}
	return SystemID(v), nil
}

// Epoch returns the survey of a cluster, nil if the archive holds nothing of it.
func (s *Survey) Epoch(system SystemID) *EpochSurvey {
	for i := range s.Epochs {
		if s.Epochs[i].epoch == system {
			return &s.Epochs[i]
		}
	}
	return nil
}

// Has reports whether the archive has the file.
func (e *EpochSurvey) Has(name Name) bool {
	_, ok := e.files[name]
	return ok
}

// Reach is how far WAL goes without a gap.
type Reach struct {
	Timeline uint32 // to whose end was looked
	Last     Name   // the last segment before a gap, or the end; the zero Name if there is none
	// What is missing, if later segments are there: then Last is not the end.
	MissingFirst, MissingLast Name
	Gap                       bool
}

// Path returns the timelines on which a recovery gets to the end of timeline, and where
// each was left; the last one is timeline itself.
func (e *EpochSurvey) Path(timeline uint32) []Branch {
	path := []Branch{{Timeline: timeline, End: ^LSN(0)}}
	for i := range e.Timelines {
		if e.Timelines[i].Timeline == timeline {
			path = append(slices.Clone(e.Timelines[i].branches), path...)
		}
	}
	return path
}

// Leads reports whether the recovery of a backup that became consistent at the address
// on one timeline can go on to the end of another.
func (e *EpochSurvey) Leads(from uint32, at LSN, to uint32) bool {
	for _, b := range e.Path(to) {
		if b.Timeline == from {
			return b.End >= at
		}
	}
	return false
}

// Newest returns the timeline that a server follows to the newest from another one: it
// asks for histories by ascending numbers until one is not there.
func (e *EpochSurvey) Newest(from uint32) uint32 {
	for next := from; ; next++ {
		if !e.Has(Name{Kind: History, Timeline: next + 1}) {
			return next
		}
	}
}

// Follow returns how far WAL goes from a segment on along the way to the end of a
// timeline.
func (e *EpochSurvey) Follow(first Name, to uint32) Reach {
	r := Reach{Timeline: to}
	number, ok := first.Number(e.SegmentSize)
	if !ok || e.SegmentSize == 0 {
		return r
	}
	path := e.Path(to)
	name, found := e.find(path, first.Timeline, number)
	for ; found; name, found = e.find(path, first.Timeline, number) {
		r.Last = name
		number++
	}
	// Is anything later there?
	later, some := uint64(0), false
	for file := range e.files {
		n, ok := file.Number(e.SegmentSize)
		if file.Kind != Segment || !ok || n <= number || some && n >= later {
			continue
		}
		if at, on := e.find(path, first.Timeline, n); on && at == file {
			later, some = n, true
		}
	}
	if some {
		on := e.owner(path, number)
		r.Gap, r.MissingFirst, r.MissingLast = true, SegmentName(on, number, e.SegmentSize), SegmentName(e.owner(path, later-1), later-1, e.SegmentSize)
	}
	return r
}

// owner returns the timeline on a path that a segment belongs to.
func (e *EpochSurvey) owner(path []Branch, number uint64) uint32 {
	for _, b := range path {
		if number <= uint64(b.End)/uint64(e.SegmentSize) {
			return b.Timeline
		}
	}
	return path[len(path)-1].Timeline
}

// PushedAt returns when a file was put into the archive. Nothing that its WAL says
// happened later, by the clock of the host that pushed it.
func (a *Archive) PushedAt(ctx context.Context, system SystemID, name Name) (time.Time, error) {
	info, err := a.Stat(ctx, system, name)
	if err != nil {
		return time.Time{}, err
	}
	return info.Origin.Time, nil
}
