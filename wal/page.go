package wal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/wal/quick"
)

// SystemID is the number that initdb gives a cluster. Everything that was copied from
// it, standbys for instance, has the same.
type SystemID uint64

// String returns the identifier as it is in keys: 16 lower-case hexadecimal digits.
func (id SystemID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// Decimal returns the identifier as pg_controldata prints it.
func (id SystemID) Decimal() string { return fmt.Sprintf("%d", uint64(id)) }

// PageHeader is what the first page of a segment says. It is the same for PostgreSQL
// since 9.3, Greenplum since 6, and what derives from them, on little-endian machines.
type PageHeader struct {
	Magic       uint16 // of the server's version
	Timeline    uint32
	Address     LSN // of the page
	System      SystemID
	SegmentSize uint32 // bytes
	PageSize    uint32 // bytes
}

// PageHeaderSize is how many bytes of a segment ParsePageHeader needs.
const PageHeaderSize = 40

// ErrPage: a file does not begin like the segment that it is named as.
var ErrPage = errors.New("not the WAL that its name promises")

const (
	pageLongHeader = 0x0002 // xlp_info: there is more than the short header
	pageAllFlags   = 0x000F
)

// ParsePageHeader reads the header of a segment's first page. The error wraps ErrPage.
func ParsePageHeader(data []byte) (PageHeader, error) {
	if len(data) < PageHeaderSize {
		return PageHeader{}, fmt.Errorf("%w: %d bytes long", ErrPage, len(data))
	}
	h := PageHeader{
		Magic:       binary.LittleEndian.Uint16(data),
		Timeline:    binary.LittleEndian.Uint32(data[4:]),
		Address:     LSN(binary.LittleEndian.Uint64(data[8:])),
		System:      SystemID(binary.LittleEndian.Uint64(data[24:])),
		SegmentSize: binary.LittleEndian.Uint32(data[32:]),
		PageSize:    binary.LittleEndian.Uint32(data[36:]),
	}
	info := binary.LittleEndian.Uint16(data[2:])
	switch {
	case info&pageLongHeader == 0 || info&^pageAllFlags != 0 || h.Magic == 0:
		return PageHeader{}, fmt.Errorf("%w: no WAL page begins the file (magic number %04X, flags %04X)", ErrPage, h.Magic, info)
	case !quick.ValidSize(h.SegmentSize):
		return PageHeader{}, fmt.Errorf("%w: it claims segments of %d bytes", ErrPage, h.SegmentSize)
	case !validPageSize(h.PageSize):
		return PageHeader{}, fmt.Errorf("%w: it claims pages of %d bytes", ErrPage, h.PageSize)
	case h.System == 0 || h.Timeline == 0:
		return PageHeader{}, fmt.Errorf("%w: system identifier %d, timeline %d", ErrPage, h.System, h.Timeline)
	}
	return h, nil
}

func validPageSize(size uint32) bool {
	return size >= 1<<10 && size <= 64<<10 && size&(size-1) == 0
}

// Check compares what the page says with the name and the size of the file. The error
// wraps ErrPage.
func (h *PageHeader) Check(name Name, size int64) error {
	number, ok := name.Number(h.SegmentSize)
	want := LSN(number * uint64(h.SegmentSize))
	switch {
	case size != int64(h.SegmentSize):
		return fmt.Errorf("%w: %d bytes long, segments have %d", ErrPage, size, h.SegmentSize)
	case !ok:
		return fmt.Errorf("%w: there is no such segment where they have %d bytes", ErrPage, h.SegmentSize)
	case h.Address != want:
		return fmt.Errorf("%w: its first page is that of address %s, not of %s", ErrPage, h.Address, want)
	case h.Timeline > name.Timeline:
		// Less is fine: the first segment of a timeline begins as a copy of what the
		// old one had written of it.
		return fmt.Errorf("%w: its first page is of timeline %d, later than %d", ErrPage, h.Timeline, name.Timeline)
	}
	return nil
}

// shortPageHeader is how many bytes of every page but a segment's first are header.
const shortPageHeader = 24

// checkPages looks at the header of every page of a segment. One that was never
// written is zero, and then so are all that follow. The error wraps ErrPage.
func checkPages(info *Info, data []byte) error {
	begin := LSN(info.Number * uint64(info.SegmentSize))
	unwritten := false
	for at := int(info.PageSize); at+shortPageHeader <= len(data); at += int(info.PageSize) {
		h := data[at : at+shortPageHeader]
		magic, flags := binary.LittleEndian.Uint16(h), binary.LittleEndian.Uint16(h[2:])
		address := LSN(binary.LittleEndian.Uint64(h[8:]))
		if magic == 0 && address == 0 {
			unwritten = true
			continue
		}
		if unwritten || magic != info.PageMagic || flags&^pageAllFlags != 0 || address != begin+LSN(at) {
			return fmt.Errorf("%w: page at offset %d is that of address %s (magic number %04X)", ErrPage, at, address, magic)
		}
	}
	return nil
}
