package repo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/storage"
)

// Census is what the objects of a repository are, by one listing: nothing of what they
// hold is read but what prunes and checks have left. Its size grows with days and kinds,
// not with objects.
type Census struct {
	Objects []ObjectStats // by kind
	Stored  int64         // bytes of all objects
	Days    []CensusDay   // ascending; those of whose objects none is left are not among them
	WAL     []WALDay      // by namespace, content id and day

	CondemnedPacks int   // that a prune will remove when the grace has passed
	CondemnedBytes int64 // of these
	DeletedRoots   int   // that a prune will remove
	LostChunks     int   // of which no good copy was left when a repair or a prune looked

	Checked Checked
}

// CensusDay is what was put on one day, and is still there, in bytes.
type CensusDay struct {
	Day   int64 // since 1970, in UTC, by the storage's clock
	Bytes int64 // of all objects
	WAL   int64 // of these, of the WAL archives
}

// WALDay is what was put into one WAL archive on one day, and is still there.
type WALDay struct {
	Namespace, Content string
	Day                int64 // since 1970, in UTC, by the storage's clock
	Files              int
	Bytes              int64
}

// Checked says what part of the packs checks have read whole.
type Checked struct {
	Packs     int          // all there are
	Bytes     int64        // of these
	ReadPacks int          // read whole by a check at any time, and not damaged
	ReadBytes int64        // of these
	Damaged   int          // packs that were damaged when they were last read
	Oldest    time.Time    // when of the packs that were read one was read last; zero: none was
	Newest    time.Time    // when any was
	Days      []CheckedDay // ascending
}

// CheckedDay is what was read last on one day.
type CheckedDay struct {
	Day   int64 // since 1970, in UTC
	Bytes int64
}

// Census lists the repository.
func (r *Repo) Census(ctx context.Context) (*Census, error) {
	gc, err := r.lookGC(ctx)
	if err != nil {
		return nil, fmt.Errorf("list repository: %w", err)
	}
	results, err := r.readResults(ctx)
	if err != nil {
		return nil, fmt.Errorf("list repository: %w", err)
	}
	c := &census{
		Census: Census{DeletedRoots: len(gc.deleted), LostChunks: len(gc.lost)}, gc: gc, results: results,
		objects: make(map[string]*ObjectStats), days: make(map[int64]*CensusDay), wal: make(map[archiveDay]*WALDay), checked: make(map[int64]int64),
	}
	err = r.st.List(ctx, "", func(info storage.Info) error {
		c.add(info)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list repository: %w", err)
	}
	return c.finish(), nil
}

// census is a Census in the making.
type census struct {
	Census
	gc      *gcState
	results *checkResults
	objects map[string]*ObjectStats
	days    map[int64]*CensusDay
	wal     map[archiveDay]*WALDay
	checked map[int64]int64
}

type archiveDay struct {
	archive string // namespace and content id, as in keys
	day     int64
}

// dayOf returns the day of a moment, since 1970 in UTC.
func dayOf(t time.Time) int64 {
	const seconds = 24 * 60 * 60
	s := t.Unix()
	if s < 0 {
		s -= seconds - 1
	}
	return s / seconds
}

func (c *census) add(info storage.Info) {
	kind := objectKind(info.Key)
	s := c.objects[kind]
	if s == nil {
		s = &ObjectStats{Kind: kind}
		c.objects[kind] = s
	}
	s.Count++
	s.Bytes += info.Size
	c.Stored += info.Size
	day := dayOf(info.ModTime)
	d := c.days[day]
	if d == nil {
		d = &CensusDay{Day: day}
		c.days[day] = d
	}
	d.Bytes += info.Size
	if rest, ok := strings.CutPrefix(info.Key, "wal/"); ok {
		d.WAL += info.Size
		c.addWAL(rest, day, info.Size)
	}
	if id, err := digest.Parse(info.Key[strings.LastIndexByte(info.Key, '/')+1:]); err == nil && packKey(id) == info.Key {
		c.addPack(id, info.Size)
	}
}

// addWAL counts a file of an archive: namespace/content/epoch/folder/file.
func (c *census) addWAL(key string, day, size int64) {
	parts := strings.Split(key, "/")
	if len(parts) != 5 || strings.Trim(parts[3], "0123456789ABCDEF") != "" { // marks of standbys are no WAL
		return
	}
	at := archiveDay{parts[0] + "/" + parts[1], day}
	d := c.wal[at]
	if d == nil {
		namespace, err := unescape(parts[0])
		if err != nil {
			return // it is none of ours
		}
		d = &WALDay{Namespace: namespace, Content: parts[1], Day: day}
		c.wal[at] = d
	}
	d.Files++
	d.Bytes += size
}

func (c *census) addPack(id digest.ID, size int64) {
	c.Checked.Packs++
	c.Checked.Bytes += size
	if c.gc.packs[id] {
		c.CondemnedPacks++
		c.CondemnedBytes += size
	}
	result, known := c.results.packs[id]
	switch {
	case !known:
	case !result.whole:
		c.Checked.Damaged++
	default:
		c.Checked.ReadPacks++
		c.Checked.ReadBytes += size
		c.checked[dayOf(result.at)] += size
		if c.Checked.Oldest.IsZero() || result.at.Before(c.Checked.Oldest) {
			c.Checked.Oldest = result.at
		}
	}
	if known && result.at.After(c.Checked.Newest) {
		c.Checked.Newest = result.at
	}
}

func (c *census) finish() *Census {
	out := &c.Census
	for _, s := range c.objects {
		out.Objects = append(out.Objects, *s)
	}
	slices.SortFunc(out.Objects, func(a, b ObjectStats) int { return strings.Compare(a.Kind, b.Kind) })
	for _, d := range c.days {
		out.Days = append(out.Days, *d)
	}
	slices.SortFunc(out.Days, func(a, b CensusDay) int { return cmp.Compare(a.Day, b.Day) })
	for _, d := range c.wal {
		out.WAL = append(out.WAL, *d)
	}
	slices.SortFunc(out.WAL, func(a, b WALDay) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Content, b.Content), cmp.Compare(a.Day, b.Day))
	})
	for day, bytes := range c.checked {
		out.Checked.Days = append(out.Checked.Days, CheckedDay{day, bytes})
	}
	slices.SortFunc(out.Checked.Days, func(a, b CheckedDay) int { return cmp.Compare(a.Day, b.Day) })
	return out
}
