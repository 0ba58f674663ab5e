package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// testTable has two packs, deltas of two depths, and an inline row.
func testTable() Table {
	return Table{
		Packs: []PackRef{{ID: digest.ID{1}, Header: [48]byte{2}}, {ID: digest.ID{3}}},
		Rows: []Chunk{
			{ID: digest.ID{10}, Raw: 100, Pack: 0, Offset: 48, Stored: 60, Encoding: index.Zstd},
			{ID: digest.ID{11}, Raw: 100, Pack: 0, Offset: 108, Stored: 70, Ordinal: 1, Encoding: index.Zstd},
			{ID: digest.ID{12}, Raw: 200, Pack: 1, Offset: 5000, Stored: 20, Ordinal: 9, Encoding: index.Delta, Depth: 2, Base: 2},
			{ID: digest.ID{13}, Raw: 5, Pack: InlinePack, Offset: 1, Stored: 5},
			{ID: digest.ID{10}, Raw: 100, Pack: 0, Offset: 48, Stored: 60, Encoding: index.Zstd},
		},
		Bases: []Chunk{
			{ID: digest.ID{20}, Raw: 300, Pack: 1, Offset: 48, Stored: 316},
			{ID: digest.ID{21}, Raw: 300, Pack: 0, Offset: 900, Stored: 40, Ordinal: 7, Encoding: index.Delta, Depth: 1, Base: 1},
		},
	}
}

func testManifest() *Manifest {
	return &Manifest{
		Kind: Checkpoint, Wrapping: Zstd, Length: 1000 + 505, Identity: digest.ID{5},
		Origin: Origin{Host: "seg1", Path: "/data/é", Command: "c", Version: "v", Time: time.Unix(1795000000, 0).UTC()},
		Stats:  Stats{Chunks: 6, NewRaw: 7, Milliseconds: 8},
		Leaves: []Leaf{{Chunk: Chunk{ID: digest.ID{30}, Raw: 700, Pack: 1, Offset: 364, Stored: 500, Ordinal: 1, Flags: index.FlagLeaf}, Bytes: 1000, Rows: 10}},
		Table:  testTable(),
		Inline: []byte("0inline"),
	}
}

func TestManifestRoundTrip(t *testing.T) {
	for _, m := range []*Manifest{{Origin: Origin{Time: time.Unix(0, 0).UTC()}}, testManifest()} {
		data, err := m.Append([]byte("front"))
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(data[5:])
		if err != nil {
			t.Fatal(err)
		}
		again, err := back.Append(nil)
		if err != nil || !bytes.Equal(again, data[5:]) {
			t.Errorf("encodes as\n%x, want\n%x, %v", again, data[5:], err)
		}
		if len(m.Leaves) > 0 && !reflect.DeepEqual(m, back) {
			t.Errorf("got\n%+v, want\n%+v", back, m)
		}
		for n := range len(data) - 5 {
			if _, err := Decode(data[5 : 5+n]); !errors.Is(err, ErrCorrupt) && !errors.Is(err, seal.ErrNewer) {
				t.Errorf("cut to %d bytes: %v", n, err)
			}
		}
		if _, err := Decode(append(data[5:], 0)); !errors.Is(err, ErrCorrupt) && !errors.Is(err, seal.ErrNewer) {
			t.Errorf("a byte too many: %v", err)
		}
	}
}

// TestPartsAgree: what does not fit together is neither written as a table nor read.
func TestPartsAgree(t *testing.T) {
	for what, breakIt := range map[string]func(m *Manifest){
		"length":                 func(m *Manifest) { m.Length++ },
		"inline beyond the end":  func(m *Manifest) { m.Inline = m.Inline[:5] },
		"inline leaf list":       func(m *Manifest) { m.Leaves[0].Chunk.Pack = InlinePack },
		"pack beyond the table":  func(m *Manifest) { m.Table.Rows[0].Pack = 2 },
		"base beyond the table":  func(m *Manifest) { m.Table.Rows[2].Base = 3 },
		"base of a whole chunk":  func(m *Manifest) { m.Table.Rows[0].Base = 1 },
		"delta without a base":   func(m *Manifest) { m.Table.Rows[2].Base = 0 },
		"base that is as deep":   func(m *Manifest) { m.Table.Bases[1].Depth = 2 },
		"base that is its own":   func(m *Manifest) { m.Table.Bases[1].Base = 2 },
		"kind of a later day":    func(m *Manifest) { m.Kind = 2 },
		"wrapping of a later":    func(m *Manifest) { m.Wrapping = 3 },
		"encoding of a later":    func(m *Manifest) { m.Table.Rows[0].Encoding = 4 },
		"chunk that is too long": func(m *Manifest) { m.Table.Rows[0].Raw = index.MaxChunk + 1 },
	} {
		m := testManifest()
		breakIt(m)
		data, err := m.Append(nil)
		if err == nil {
			_, err = Decode(data)
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, seal.ErrNewer) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestColumnsPredict: in rows that follow each other in a pack, nothing but names
// and lengths is other than zero.
func TestColumnsPredict(t *testing.T) {
	table := Table{Packs: []PackRef{{}}}
	offset := uint32(48)
	for i := range 50 {
		table.Rows = append(table.Rows, Chunk{Raw: 100, Offset: offset, Stored: uint32(60 + i), Ordinal: uint32(i)})
		offset += uint32(60 + i)
	}
	data, err := table.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	columns := data[12+packRefSize+50*digest.Size:]
	for _, k := range []int{1, 2, 4, 5} { // pack, offset, ordinal, base
		column := columns[k*200 : (k+1)*200]
		if k == 2 || k == 4 { // the row before the first is all zeros
			column = column[4:]
		}
		if !bytes.Equal(column, make([]byte, len(column))) {
			t.Errorf("column %d: %x", k, column)
		}
	}
}

// TestHostileCounts: counts that the data cannot hold are refused before memory
// is taken for them.
func TestHostileCounts(t *testing.T) {
	m := testManifest()
	good, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+4 <= len(good); at++ {
		for _, v := range []uint32{^uint32(0), 1 << 31, 1<<32/59 + 1, 1<<32/80 + 1} {
			data := bytes.Clone(good)
			binary.LittleEndian.PutUint32(data[at:], v)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode(data)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%#x at byte %d: took %d bytes of memory", v, at, n)
			}
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, seal.ErrNewer) {
				t.Errorf("%#x at byte %d: %v", v, at, err)
			}
		}
	}
}

func TestIdentity(t *testing.T) {
	sum := func(rows ...Chunk) digest.ID {
		s := NewIdentity()
		for _, r := range rows {
			s.Add(r.ID, r.Raw)
		}
		return s.Sum()
	}
	a, b := Chunk{ID: digest.ID{1}, Raw: 5}, Chunk{ID: digest.ID{2}, Raw: 6}
	seen := make(map[digest.ID]bool)
	for _, id := range []digest.ID{sum(), sum(a), sum(b), sum(a, b), sum(b, a), sum(a, a), sum(Chunk{ID: a.ID, Raw: 6})} {
		if seen[id] {
			t.Error("two streams share an identity")
		}
		seen[id] = true
	}
	moved := a
	moved.Pack, moved.Offset, moved.Stored, moved.Encoding = 7, 8, 9, index.Zstd
	if sum(a) != sum(moved) {
		t.Error("where a chunk lies is part of the identity")
	}
}

func TestTableProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := Table{Packs: make([]PackRef, rapid.IntRange(1, 4).Draw(t, "packs"))}
		row := func(base bool) Chunk {
			c := Chunk{
				Raw:    rapid.Uint32Max(index.MaxChunk).Draw(t, "raw"),
				Offset: rapid.Uint32Max(maxPack-index.MaxChunk-index.BoxOverhead).Draw(t, "offset"), Ordinal: rapid.Uint32().Draw(t, "ordinal"),
				Pack: rapid.Uint32Max(uint32(len(table.Packs)-1)).Draw(t, "pack"), Flags: rapid.Uint8().Draw(t, "flags"),
			}
			c.Stored = index.BoxOverhead + rapid.Uint32Max(c.Raw).Draw(t, "stored")
			c.ID[0] = rapid.Byte().Draw(t, "id")
			if n := len(table.Bases); !base && n > 0 && rapid.Bool().Draw(t, "delta") {
				c.Encoding, c.Depth, c.Base = index.Delta, 1, uint32(rapid.IntRange(1, n).Draw(t, "base"))
			}
			return c
		}
		for range rapid.IntRange(0, 3).Draw(t, "bases") {
			table.Bases = append(table.Bases, row(true))
		}
		for range rapid.IntRange(0, 20).Draw(t, "rows") {
			table.Rows = append(table.Rows, row(false))
		}
		data, err := table.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeTable(data)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := back.Append(nil); err != nil || !bytes.Equal(again, data) || len(back.Rows) != len(table.Rows) {
			t.Fatalf("encodes as\n%x, want\n%x, %v", again, data, err)
		}
		for i := range table.Rows {
			if back.Rows[i] != table.Rows[i] {
				t.Fatalf("row %d: %+v, want %+v", i, back.Rows[i], table.Rows[i])
			}
		}
	})
}
