package wal

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// Kind says what a file of the archive is. The values are those of the format.
type Kind uint8

// The kinds of files.
const (
	Segment Kind = 0
	Partial Kind = 1 // the last segment of a timeline that was left, as far as it was written
	History Kind = 2 // where a timeline came from
	Backup  Kind = 3 // label of a base backup
)

func (k Kind) String() string {
	switch k {
	case Segment:
		return "segment"
	case Partial:
		return "partial segment"
	case History:
		return "timeline history"
	case Backup:
		return "backup label"
	}
	return fmt.Sprintf("file of unknown kind %d", uint8(k))
}

// Name is the name of a file in the archive. Log and Seg are 0 for a History, Offset
// for all but a Backup.
type Name struct {
	Kind     Kind
	Timeline uint32
	Log      uint32 // upper half of the address
	Seg      uint32 // number of the segment within that
	Offset   uint32 // where in the segment the backup began
}

const (
	partialSuffix = ".partial"
	historySuffix = ".history"
	backupSuffix  = ".backup"
)

// ParseName reads a file name as PostgreSQL writes it, and refuses every other with
// repo.ErrUsage, wrapped.
func ParseName(s string) (Name, error) {
	var n Name
	digits := s
	switch {
	case strings.HasSuffix(s, historySuffix):
		n.Kind, digits = History, strings.TrimSuffix(s, historySuffix)
	case strings.HasSuffix(s, partialSuffix):
		n.Kind, digits = Partial, strings.TrimSuffix(s, partialSuffix)
	case strings.HasSuffix(s, backupSuffix):
		n.Kind, digits = Backup, strings.TrimSuffix(s, backupSuffix)
		segment, offset, found := strings.Cut(digits, ".")
		if !found || !quick.ParseHex(offset, &n.Offset) {
			return Name{}, noName(s)
		}
		digits = segment
	}
	parts := []*uint32{&n.Timeline, &n.Log, &n.Seg}
	if n.Kind == History {
		parts = parts[:1]
	}
	if !quick.ParseHex(digits, parts...) || n.Timeline == 0 {
		return Name{}, noName(s)
	}
	return n, nil
}

func noName(s string) error {
	return repo.WithHint(fmt.Errorf("%w: %.80q is not the name of a WAL segment, .partial, .history or .backup file", repo.ErrUsage, s),
		"archive_command gives %p or %f, restore_command gives %f")
}

// String returns the name as PostgreSQL writes it.
func (n Name) String() string {
	switch n.Kind {
	case History:
		return fmt.Sprintf("%08X%s", n.Timeline, historySuffix)
	case Partial:
		return n.segment() + partialSuffix
	case Backup:
		return fmt.Sprintf("%s.%08X%s", n.segment(), n.Offset, backupSuffix)
	}
	return n.segment()
}

func (n Name) segment() string { return fmt.Sprintf("%08X%08X%08X", n.Timeline, n.Log, n.Seg) }

// Position orders segments by the address at which they begin, whatever the timeline.
func (n Name) Position() uint64 { return uint64(n.Log)<<32 | uint64(n.Seg) }

// The sizes that a segment may have, in bytes: powers of two.
const (
	MinSegmentSize = quick.MinSize
	MaxSegmentSize = quick.MaxSize
)

// Number returns the segment's number for segments of size bytes, and false if there
// is none with that name.
func (n Name) Number(size uint32) (uint64, bool) {
	if n.Kind == History {
		return 0, false
	}
	return quick.Number(n.Log, n.Seg, size)
}

// SegmentName returns the name of a segment by its number, for segments of size bytes,
// which must be a size that segments may have.
func SegmentName(timeline uint32, number uint64, size uint32) Name {
	perLog := uint64(1) << 32 / uint64(size)
	return Name{Kind: Segment, Timeline: timeline, Log: uint32(number / perLog), Seg: uint32(number % perLog)}
}

// SegmentAt returns the name of the segment that holds the byte at address at.
func SegmentAt(timeline uint32, at LSN, size uint32) Name {
	return SegmentName(timeline, uint64(at)/uint64(size), size)
}

// LSN is an address in the WAL.
type LSN uint64

// ParseLSN reads an address as PostgreSQL writes it: 16/B374D848.
func ParseLSN(s string) (LSN, error) {
	high, low, found := strings.Cut(s, "/")
	h, herr := strconv.ParseUint(high, 16, 32)
	l, lerr := strconv.ParseUint(low, 16, 32)
	if !found || herr != nil || lerr != nil || len(high) > 8 || len(low) > 8 {
		return 0, fmt.Errorf("%.40q is not an address in the WAL, as in 16/B374D848", s)
	}
	return LSN(h<<32 | l), nil
}

func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }
