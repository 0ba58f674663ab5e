package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
)

// request is what a server asked for last, and in which direction it is going.
type request struct {
	name Name
	size uint32 // of segments, in bytes
	back bool   // it asked for the segment after this one before: pg_rewind does
}

func (s *Spool) last() (request, bool) {
	text, err := os.Readlink(s.path(lastFile))
	if err != nil {
		return request{}, false
	}
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return request{}, false
	}
	name, err := ParseName(fields[0])
	size, serr := strconv.ParseUint(fields[1], 10, 32)
	r := request{name: name, size: uint32(size), back: fields[2] == "back"}
	return r, err == nil && serr == nil && name.Kind == Segment && validSegmentSize(r.size)
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
func (s *Spool) Served(name Name, size uint32) error {
	direction := "on"
	if before, ok := s.last(); ok && before.size == size {
		now, _ := name.Number(size)
		then, _ := before.name.Number(size)
		if now+1 == then || now == then && before.back {
			direction = "back"
		}
	}
	return s.note(lastFile, fmt.Sprintf("%s %d %s", name, size, direction))
}

// note replaces a line of text, of 59 bytes at most, which os.Readlink reads. It is a
// symbolic link to nowhere, because that lies in its inode: a file with bytes that replaces
// another is handed to the disk by ext4 there and then, and the server waits for that with
// each segment. Where there are no symbolic links there is no bell either, and nothing is
// fetched ahead.
func (s *Spool) note(name, text string) error {
	temporary := s.path(fmt.Sprintf("%s.%016x%s", name, rand.Uint64(), partSuffix))
	if err := os.Symlink(text, temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, s.path(name)); err != nil {
		_ = os.Remove(temporary)
		return err
	}
	return nil
}

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
	if !parseHex(first, &timeline) {
		return 0, nil, false
	}
	ancestors, err = ParseHistory(timeline, []byte(rest))
	return timeline, ancestors, err == nil
}

func (s *Spool) write(name string, data []byte) error {
	f, err := os.CreateTemp(s.dir, name+".*.part")
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
