package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

// TestNames: what is a name, which segment it means, and what is none.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"000000010000000000000001", "FFFFFFFFFFFFFFFF000000FF", "00000002.history",
		"000000010000000A000000FE.partial", "000000010000000000000002.00000028.backup",
	} {
		n, err := ParseName(s)
		if err != nil || n.String() != s {
			t.Errorf("%s: %s, %v", s, n, err)
		}
	}
	for _, s := range []string{
		"", "x", "00000001", "00000000000000000000000001", "000000000000000000000001", "00000000.history", "0000000a.history",
		"000000010000000000000001.part", "00000001000000000000000g", "000000010000000000000002.28.backup",
		"000000010000000000000002.backup", "00000001000000000000000102.partial", ".history", "+0000001.history", "000000010000000000000001/",
	} {
		if n, err := ParseName(s); !errors.Is(err, repo.ErrUsage) {
			t.Errorf("%s: %v, %v", s, n, err)
		}
	}
	for _, c := range []struct {
		name   string
		size   uint32
		number uint64
		ok     bool
	}{
		{"000000010000000000000001", 16 << 20, 1, true},
		{"0000000100000001000000FF", 16 << 20, 511, true},
		{"000000010000000100000100", 16 << 20, 0, false},
		{"000000010000000100000FFF", 1 << 20, 8191, true},
		{"000000010000000A00000003", 1 << 30, 43, true},
		{"000000010000000A00000004", 1 << 30, 0, false},
		{"00000002.history", 16 << 20, 0, false},
		{"000000010000000000000001", 3 << 20, 0, false},
		{"000000010000000000000001", 1 << 19, 0, false},
	} {
		n := mustName(t, c.name)
		number, ok := n.Number(c.size)
		if number != c.number || ok != c.ok {
			t.Errorf("%s of %d bytes: %d, %v", c.name, c.size, number, ok)
		}
		if ok && SegmentName(n.Timeline, number, c.size) != n {
			t.Errorf("%s of %d bytes: back as %s", c.name, c.size, SegmentName(n.Timeline, number, c.size))
		}
	}
	at, err := ParseLSN("1/2A000028")
	if err != nil || at.String() != "1/2A000028" || SegmentAt(3, at, 16<<20).String() != "00000003000000010000002A" {
		t.Errorf("%s, %v", at, err)
	}
}

// TestPageHeader: a segment is taken for what it is only.
func TestPageHeader(t *testing.T) {
	t.Parallel()
	name := mustName(t, "000000020000000100000003")
	good := segment(testSystem, name, 1<<20, 1)
	check := func(edit func([]byte)) error {
		b := slices.Clone(good[:PageHeaderSize])
		edit(b)
		h, err := ParsePageHeader(b)
		if err == nil {
			err = h.Check(name, 1<<20)
		}
		return err
	}
	le := binary.LittleEndian
	if err := check(func([]byte) {}); err != nil {
		t.Fatal(err)
	}
	if err := check(func(b []byte) { le.PutUint32(b[4:], 1) }); err != nil {
		t.Errorf("the first segment of a timeline: %v", err)
	}
	for what, edit := range map[string]func([]byte){
		"no magic":            func(b []byte) { le.PutUint16(b, 0) },
		"short header":        func(b []byte) { b[2] = 0 },
		"unknown flags":       func(b []byte) { b[3] = 1 },
		"later timeline":      func(b []byte) { le.PutUint32(b[4:], 3) },
		"no timeline":         func(b []byte) { le.PutUint32(b[4:], 0) },
		"another segment":     func(b []byte) { le.PutUint64(b[8:], 1<<20) },
		"no system":           func(b []byte) { le.PutUint64(b[24:], 0) },
		"another size":        func(b []byte) { le.PutUint32(b[32:], 2<<20) },
		"no power of two":     func(b []byte) { le.PutUint32(b[32:], 3<<20) },
		"pages of odd length": func(b []byte) { le.PutUint32(b[36:], 8191) },
	} {
		if err := check(edit); !errors.Is(err, ErrPage) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// controlFile makes a control file whose checksum stands at the given offset.
func controlFile(system SystemID, at int) []byte {
	b := make([]byte, 8192)
	le := binary.LittleEndian
	le.PutUint64(b, uint64(system))
	le.PutUint32(b[8:], 1300)
	le.PutUint32(b[16:], 6)
	le.PutUint32(b[at:], crc32.Checksum(b[:at], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// TestControl: control files of all lengths that there are, whole and damaged.
func TestControl(t *testing.T) {
	t.Parallel()
	for _, at := range []int{240, 288, 296, 508} {
		b := controlFile(testSystem, at)
		c, err := ParseControl(b)
		if err != nil || c.System != testSystem || c.Version != 1300 {
			t.Errorf("checksum at %d: %+v, %v", at, c, err)
		}
		b[3] ^= 1
		if _, err := ParseControl(b); !errors.Is(err, ErrControl) {
			t.Errorf("damaged: %v", err)
		}
	}
	for _, n := range []int{0, 39, 43} {
		if _, err := ParseControl(make([]byte, n)); !errors.Is(err, ErrControl) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	dir := t.TempDir()
	if _, err := ReadControl(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "global"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ControlPath(dir), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadControl(dir); !errors.Is(err, ErrControl) {
		t.Errorf("damaged: %v", err)
	}
}

// TestHistory: histories as servers write them, by hand and damaged.
func TestHistory(t *testing.T) {
	t.Parallel()
	branches, err := ParseHistory(3, []byte("# a comment\n\n1\t0/5000000\tno recovery target specified\n2 1/A0 before 2026-01-01\n"))
	want := []Branch{{1, 0x5000000, "no recovery target specified"}, {2, 1<<32 + 0xA0, "before 2026-01-01"}}
	if err != nil || !slices.Equal(branches, want) {
		t.Errorf("%+v, %v", branches, err)
	}
	for _, s := range []string{"x", "1", "1\t5000000", "0\t0/1", "2\t0/1\tx\n1\t0/2\tx", "3\t0/1\tx", "1\t0/123456789"} {
		if b, err := ParseHistory(3, []byte(s)); !errors.Is(err, ErrHistory) {
			t.Errorf("%q: %+v, %v", s, b, err)
		}
	}
}

const labelText = `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
STOP WAL LOCATION: 0/3000138 (file 000000010000000000000003)
CHECKPOINT LOCATION: 0/2000060
BACKUP METHOD: streamed
START TIME: 2026-11-22 00:00:00 UTC
LABEL: pg_basebackup base backup
START TIMELINE: 1
`

// TestLabel: labels of backups, and what is none.
func TestLabel(t *testing.T) {
	t.Parallel()
	l, err := ParseLabel([]byte(labelText))
	if err != nil || l.Start != 0x2000028 || l.First.String() != "000000010000000000000002" ||
		l.Last.String() != "000000010000000000000003" || l.Label != "pg_basebackup base backup" || !l.HasStopPoint {
		t.Errorf("%+v, %v", l, err)
	}
	for _, s := range []string{"", "LABEL: x\n", "START WAL LOCATION: x", "START WAL LOCATION: 0/2000028", "START WAL LOCATION: 0/2000028 (file 00000002.history)"} {
		if l, err := ParseLabel([]byte(s)); !errors.Is(err, ErrLabel) {
			t.Errorf("%q: %+v, %v", s, l, err)
		}
	}
}

// TestPoints: what psql prints of restore points.
func TestPoints(t *testing.T) {
	t.Parallel()
	points, err := ParsePoints(strings.NewReader("-1|0/2000078\n0\t0/3000078\n\n1, 0/4000078\n"))
	if err != nil || len(points) != 3 || points[0] != (Point{Content: "-1", LSN: "0/2000078"}) {
		t.Errorf("%+v, %v", points, err)
	}
	for _, s := range []string{"", "x|0/1", "1|0", "1", "1|0/1\n1|0/2\n", "1|0/1|2"} {
		if p, err := ParsePoints(strings.NewReader(s)); !errors.Is(err, repo.ErrUsage) {
			t.Errorf("%q: %+v, %v", s, p, err)
		}
	}
}
