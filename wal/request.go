package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/wal/quick"
)

// request is what a server asked for last, and in which direction it is going.
type request struct {
	name Name
	size uint32 // of segments, in bytes
	back bool   // it asked for the segment after this one before: pg_rewind does
}

func (s *Spool) last() (request, bool) {
	r, ok := quick.Last(s.dir)
	if !ok {
		return request{}, false
	}
	name, err := ParseName(r.Segment)
	return request{name: name, size: r.Size, back: r.Back}, err == nil
}

// Next returns the names of the segments that a process which fetches ahead will ask for
// first, if no newer timeline is known.
func (s *Spool) Next() []Name {
	at, ok := s.last()
	all, err := s.list()
	if !ok || at.back || err != nil {
		return nil
	}
	number, _ := at.name.Number(at.size)
	var names []Name
	for i := range min(firstWindow, atOnce(at.size)) {
		name := SegmentName(at.name.Timeline, number+1+uint64(i), at.size)
		if !slices.ContainsFunc(all, func(h held) bool { return h.name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// Served notes that the server got a segment of size bytes.
func (s *Spool) Served(name Name, size uint32) error { return quick.Served(s.dir, name.String(), size) }

// Followed notes that the server got the history of a timeline. It asks first for that
// of the timeline that it is going to follow, and for those of ancestors later.
func (s *Spool) Followed(timeline uint32, history []byte) error {
	if t, _, ok := s.target(); ok && t > timeline {
		return nil
	}
	return s.write(targetFile, append(fmt.Appendf(nil, "%08X\n", timeline), history...))
}

// target returns the timeline that the server follows, as far as is known, and its
// ancestors.
func (s *Spool) target() (timeline uint32, ancestors []Branch, ok bool) {
	data, err := os.ReadFile(s.path(targetFile))
	if err != nil {
		return 0, nil, false
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	if !quick.ParseHex(first, &timeline) {
		return 0, nil, false
	}
	ancestors, err = ParseHistory(timeline, []byte(rest))
	return timeline, ancestors, err == nil
}

func (s *Spool) write(name string, data []byte) error {
	f, err := os.CreateTemp(s.dir, name+".*"+quick.PartSuffix)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path(name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
