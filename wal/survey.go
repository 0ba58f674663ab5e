package wal

import (
	"cmp"
	"context"
	"slices"
)

// Survey is what an archive holds, in JSON as `wal list` prints it.
type Survey struct {
	Namespace string        `json:"namespace"`
	Content   string        `json:"content"`
	Epochs    []EpochSurvey `json:"epochs"`
}

// EpochSurvey is the WAL of one cluster.
type EpochSurvey struct {
	System      string           `json:"system_identifier"` // decimal, as pg_controldata prints it
	SegmentSize uint32           `json:"segment_size"`      // bytes; 0 if there is no segment
	Segments    int              `json:"segments"`
	Stored      int64            `json:"stored_bytes"` // of all files
	Timelines   []TimelineSurvey `json:"timelines"`    // ascending
	Backups     []BackupSurvey   `json:"backups"`      // by start
	Standbys    []MarkSurvey     `json:"standbys"`
	Foreign     []string         `json:"foreign"` // keys of objects that are none of gpdedup's

	epoch SystemID
	files map[Name]int64 // stored bytes
}

// TimelineSurvey is one timeline.
type TimelineSurvey struct {
	Timeline   uint32   `json:"timeline"`
	Parent     uint32   `json:"parent,omitempty"`      // the timeline that it branched from
	BranchedAt string   `json:"branched_at,omitempty"` // address
	History    bool     `json:"history"`               // its .history file is there
	Ranges     []Range  `json:"ranges"`                // of segments that follow each other
	Gaps       []Gap    `json:"gaps"`
	Orphans    []Range  `json:"orphans"` // written after another timeline had branched off; part of the ranges
	Partials   []string `json:"partials"`

	branches []Branch
	numbers  []uint64 // of the segments, ascending
}

// Range is a run of segments without a gap.
type Range struct {
	First    string `json:"first"`
	Last     string `json:"last"`
	Segments int    `json:"segments"`
	Stored   int64  `json:"stored_bytes"`
}

// Gap is a run of segments that are missing between others: no recovery gets across.
type Gap struct {
	First   string `json:"first"`
	Last    string `json:"last"`
	Missing uint64 `json:"missing"`
}

// BackupSurvey is a base backup that the archive knows by its .backup file.
type BackupSurvey struct {
	File       string `json:"file"`
	Label      string `json:"label"`
	Started    string `json:"started"`
	Start      string `json:"start"` // segment
	Stop       string `json:"stop"`
	Consistent bool   `json:"consistent"` // every segment from start to stop is there
	Until      string `json:"until"`      // the last segment to which it can be recovered, along the newest timeline that descends from it
}

// MarkSurvey is what a standby needs.
type MarkSurvey struct {
	Mark
	From string `json:"from"`
}

// Survey lists the archive and reads what it takes to tell what is missing: the
// histories, the labels of backups, and one segment's metadata for each epoch.
func (a *Archive) Survey(ctx context.Context) (*Survey, error) {
	epochs, err := a.Epochs(ctx)
	if err != nil {
		return nil, err
	}
	s := &Survey{Namespace: a.Namespace, Content: a.Content, Epochs: []EpochSurvey{}}
	for _, id := range epochs {
		e, err := a.surveyEpoch(ctx, id)
		if err != nil {
			return nil, err
		}
		s.Epochs = append(s.Epochs, *e)
	}
	return s, nil
}

func (a *Archive) surveyEpoch(ctx context.Context, id SystemID) (*EpochSurvey, error) {
	e := &EpochSurvey{
		System: id.Decimal(), epoch: id, files: make(map[Name]int64),
		Timelines: []TimelineSurvey{}, Backups: []BackupSurvey{}, Standbys: []MarkSurvey{}, Foreign: []string{},
	}
	err := a.List(ctx, id, func(f Entry) error {
		e.files[f.Name] = f.Stored
		e.Stored += f.Stored
		return nil
	}, func(key string) { e.Foreign = append(e.Foreign, key) })
	if err != nil {
		return nil, err
	}
	names := make([]Name, 0, len(e.files))
	for n := range e.files {
		names = append(names, n)
	}
	slices.SortFunc(names, func(x, y Name) int { return cmp.Compare(x.String(), y.String()) })
	if err := a.segmentSize(ctx, e, names); err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := a.surveyFile(ctx, e, n); err != nil {
			return nil, err
		}
	}
	e.findGaps()
	marks, err := a.Marks(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, m := range marks {
		e.Standbys = append(e.Standbys, MarkSurvey{Mark: m, From: m.From.String()})
	}
	for i := range e.Backups {
		e.reach(&e.Backups[i])
	}
	return e, nil
}

// segmentSize asks the segments for their size until one can be read.
func (a *Archive) segmentSize(ctx context.Context, e *EpochSurvey, names []Name) error {
	var failed error
	for _, n := range names {
		if !n.isSegment() {
			continue
		}
		info, err := a.Stat(ctx, e.epoch, n)
		if err == nil {
			e.SegmentSize = info.SegmentSize
			return nil
		}
		if !isObjectError(err) {
			return err
		}
		failed = err
	}
	return failed
}

// timeline returns the survey of a timeline, which comes into being with its first
// file: files are shown by ascending names, so the last one is meant, or a new one.
func (e *EpochSurvey) timeline(tli uint32) *TimelineSurvey {
	if n := len(e.Timelines); n == 0 || e.Timelines[n-1].Timeline != tli {
		e.Timelines = append(e.Timelines, TimelineSurvey{
			Timeline: tli, Ranges: []Range{}, Gaps: []Gap{}, Orphans: []Range{}, Partials: []string{},
		})
	}
	return &e.Timelines[len(e.Timelines)-1]
}

func (a *Archive) surveyFile(ctx context.Context, e *EpochSurvey, n Name) error {
	t := e.timeline(n.Timeline)
	switch n.Kind {
	case Segment:
		e.Segments++
		number, ok := n.Number(e.SegmentSize)
		if !ok {
			e.Foreign = append(e.Foreign, a.key(e.epoch, n))
			return nil
		}
		t.numbers = append(t.numbers, number)
	case Partial:
		t.Partials = append(t.Partials, n.String())
	case History:
		t.History = true
		_, data, err := a.Get(ctx, e.epoch, n)
		if err == nil {
			t.branches, err = ParseHistory(n.Timeline, data)
		}
		if err != nil && !isObjectError(err) {
			return err
		}
		if last := len(t.branches) - 1; last >= 0 {
			t.Parent, t.BranchedAt = t.branches[last].Timeline, t.branches[last].End.String()
		}
	case Backup:
		b := BackupSurvey{File: n.String(), Start: n.segment()}
		_, data, err := a.Get(ctx, e.epoch, n)
		if err != nil && !isObjectError(err) {
			return err
		}
		if label, err := ParseLabel(data); err == nil {
			b.Label, b.Started = label.Label, label.StartTime
			b.Start, b.Stop = label.First.String(), label.Last.String()
		}
		e.Backups = append(e.Backups, b)
	}
	return nil
}

// findGaps turns the numbers of segments into ranges, and finds what is missing
// between them, before them where a timeline branched off, and after them where
// another did.
func (e *EpochSurvey) findGaps() {
	if e.SegmentSize == 0 {
		return
	}
	for i := range e.Timelines {
		t := &e.Timelines[i]
		slices.Sort(t.numbers)
		t.Ranges, t.Gaps = e.ranges(t, t.numbers)
		left, end := e.leftAt(t.Timeline)
		if len(t.numbers) == 0 {
			continue
		}
		// Its own first segment is the one in which it branched off: the copy of the
		// parent's beginning is written anew.
		if last := len(t.branches) - 1; last >= 0 {
			begin := uint64(t.branches[last].End) / uint64(e.SegmentSize)
			if t.numbers[0] > begin && e.reaches(t.branches, begin) {
				t.Gaps = slices.Insert(t.Gaps, 0, e.gap(t.Timeline, begin, t.numbers[0]-1))
			}
		}
		if !left {
			continue
		}
		last := t.numbers[len(t.numbers)-1]
		// The segment in which another branched off may be there as .partial only.
		before := uint64(end) / uint64(e.SegmentSize)
		if last+1 < before {
			t.Gaps = append(t.Gaps, e.gap(t.Timeline, last+1, before-1))
		}
		if first, _ := slices.BinarySearch(t.numbers, before+1); first < len(t.numbers) {
			t.Orphans, _ = e.ranges(t, t.numbers[first:])
		}
	}
}

// reaches reports whether an ancestor has a segment of that number or before it: else all
// that lies before was cleaned up, and nothing leads to it.
func (e *EpochSurvey) reaches(branches []Branch, number uint64) bool {
	for i := range e.Timelines {
		t := &e.Timelines[i]
		if slices.ContainsFunc(t.numbers, func(n uint64) bool { return n <= number }) &&
			slices.ContainsFunc(branches, func(b Branch) bool { return b.Timeline == t.Timeline }) {
			return true
		}
	}
	return false
}

// leftAt returns where the newest of those timelines left this one that descend from it
// and are newest themselves.
func (e *EpochSurvey) leftAt(timeline uint32) (left bool, at LSN) {
	for i := range e.Timelines {
		for _, b := range e.Timelines[i].branches {
			if b.Timeline == timeline {
				left, at = true, b.End // the last one counts: timelines ascend
			}
		}
	}
	return left, at
}

func (e *EpochSurvey) gap(timeline uint32, first, last uint64) Gap {
	return Gap{
		First: SegmentName(timeline, first, e.SegmentSize).String(),
		Last:  SegmentName(timeline, last, e.SegmentSize).String(), Missing: last - first + 1,
	}
}

func (e *EpochSurvey) ranges(t *TimelineSurvey, numbers []uint64) ([]Range, []Gap) {
	ranges, gaps := []Range{}, []Gap{}
	for i, number := range numbers {
		name := SegmentName(t.Timeline, number, e.SegmentSize)
		if i == 0 || numbers[i-1]+1 != number {
			if i > 0 {
				gaps = append(gaps, e.gap(t.Timeline, numbers[i-1]+1, number-1))
			}
			ranges = append(ranges, Range{First: name.String()})
		}
		r := &ranges[len(ranges)-1]
		r.Last = name.String()
		r.Segments++
		r.Stored += e.files[name]
	}
	return ranges, gaps
}

// reach finds out how far a base backup can be recovered.
func (e *EpochSurvey) reach(b *BackupSurvey) {
	start, err := ParseName(b.Start)
	if err != nil || e.SegmentSize == 0 {
		return
	}
	number, ok := start.Number(e.SegmentSize)
	if !ok {
		return
	}
	path := e.descendant(start.Timeline)
	stop, stopErr := ParseName(b.Stop)
	for ; ; number++ {
		// As the server does: a segment is asked for by the newest timeline that had
		// begun by then, and where that has not written it, by those before.
		name, found := e.find(path, start.Timeline, number)
		if !found {
			return
		}
		b.Until = name.String()
		if stopErr == nil && name.Position() == stop.Position() {
			b.Consistent = true
		}
	}
}

// descendant returns the history of the newest timeline that descends from this one,
// and that timeline itself last.
func (e *EpochSurvey) descendant(timeline uint32) []Branch {
	for i := len(e.Timelines) - 1; i >= 0; i-- {
		t := &e.Timelines[i]
		if t.Timeline == timeline || slices.ContainsFunc(t.branches, func(b Branch) bool { return b.Timeline == timeline }) {
			return append(slices.Clone(t.branches), Branch{Timeline: t.Timeline, End: ^LSN(0)})
		}
	}
	return []Branch{{Timeline: timeline, End: ^LSN(0)}}
}

// find returns the segment of that number along a path of timelines, newest first.
func (e *EpochSurvey) find(path []Branch, from uint32, number uint64) (Name, bool) {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i].Timeline < from || i > 0 && number < uint64(path[i-1].End)/uint64(e.SegmentSize) {
			continue // it had not begun then
		}
		if number > uint64(path[i].End)/uint64(e.SegmentSize) {
			break // it had been left
		}
		name := SegmentName(path[i].Timeline, number, e.SegmentSize)
		if _, ok := e.files[name]; ok {
			return name, true
		}
	}
	return Name{}, false
}
