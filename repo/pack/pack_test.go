package pack

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

func testKeys(t testing.TB, encrypted bool) *seal.Keys {
	t.Helper()
	ring, err := seal.NewRing(&[32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	ring.Epochs[0].Secret = [32]byte{4}
	return seal.NewKeys(digest.ID{9}, ring, encrypted)
}

type chunk struct {
	entry   index.Entry
	payload []byte
}

// testChunks returns chunks of every encoding, with and without features.
func testChunks() []chunk {
	var out []chunk
	for i, n := range []int{1, 100, 0, 5000} {
		p := bytes.Repeat([]byte{byte(i + 1)}, n)
		out = append(out, chunk{index.Entry{ID: digest.Sum(p), Raw: uint32(n)}, p})
	}
	out[1].entry.Encoding, out[1].entry.Raw = index.Zstd, 4000
	out[2].entry.Flags = index.FlagLeaf
	delta := chunk{payload: []byte("delta")}
	delta.entry = index.Entry{
		ID: digest.ID{7}, Raw: 9000, Encoding: index.Delta, Depth: 3, Base: digest.ID{8},
		Flags: index.FlagFeatures, Features: [3]uint64{1, 1 << 40, ^uint64(0)},
	}
	return append(out, delta)
}

func build(t testing.TB, keys *seal.Keys, chunks []chunk) (index.Pack, []byte, []index.Location) {
	t.Helper()
	b, err := NewBuilder(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	var locations []index.Location
	for _, c := range chunks {
		loc, err := b.Add(c.entry, c.payload, Sum(c.payload))
		if err != nil {
			t.Fatal(err)
		}
		locations = append(locations, loc)
	}
	n := b.Size()
	dir, object := b.Finish()
	if keys.Encrypted() {
		n = seal.Padme(n)
	}
	if len(object) != n {
		t.Fatalf("a pack of %d bytes; want %d", len(object), n)
	}
	return dir, object, locations
}

func TestRoundTrip(t *testing.T) {
	for _, encrypted := range []bool{true, false} {
		keys := testKeys(t, encrypted)
		for n := range len(testChunks()) + 1 {
			chunks := testChunks()[:n]
			dir, object, locations := build(t, keys, chunks)
			got, err := Parse(keys, dir.ID, object)
			if err != nil || len(got.Entries) != n || n > 0 && !reflect.DeepEqual(got, dir) {
				t.Fatalf("%d chunks: directory\n%+v, want\n%+v, %v", n, got, dir, err)
			}
			s, err := keys.OpenObject(seal.Pack, object)
			if err != nil {
				t.Fatal(err)
			}
			i := 0
			got.Locations(FirstOffset, func(id digest.ID, loc index.Location) {
				want := locations[i]
				want.Pack = dir.ID
				if loc != want {
					t.Errorf("chunk %d lies at %+v, want %+v", i, loc, want)
				}
				box := object[loc.Offset : loc.Offset+loc.Stored]
				if out, err := OpenChunk(s, nil, id, loc.Ordinal, box); err != nil || !bytes.Equal(out, chunks[i].payload) {
					t.Errorf("chunk %d: %q, %v", i, out, err)
				}
				if _, err := OpenChunk(s, nil, digest.ID{99}, loc.Ordinal, box); !errors.Is(err, seal.ErrDamaged) {
					t.Errorf("chunk %d opens under another name: %v", i, err)
				}
				if _, err := OpenChunk(s, nil, id, loc.Ordinal+1, box); !errors.Is(err, seal.ErrDamaged) {
					t.Errorf("chunk %d opens in another place: %v", i, err)
				}
				i++
			})
			if encrypted && n > 0 && bytes.Contains(object, chunks[0].entry.ID[:]) {
				t.Error("a chunk's name is visible")
			}
		}
	}
}

// TestEveryByteCounts: whichever byte of a pack changes, its name no longer fits,
// and where the footer is concerned it does not open even without the name.
func TestEveryByteCounts(t *testing.T) {
	for _, encrypted := range []bool{true, false} {
		keys := testKeys(t, encrypted)
		dir, object, _ := build(t, keys, testChunks())
		footer, err := FooterSize(object[len(object)-TrailerSize:])
		if err != nil {
			t.Fatal(err)
		}
		for i := range object {
			broken := slices.Clone(object)
			broken[i] ^= 1
			if _, err := Parse(keys, dir.ID, broken); !errors.Is(err, seal.ErrDamaged) {
				t.Fatalf("byte %d: %v", i, err)
			}
			_, err := Parse(keys, digest.Sum(broken), broken)
			inHeader, inFooter := i < seal.HeaderSize, i >= len(object)-TrailerSize-footer
			if (inHeader || inFooter) && !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrNewer) {
				t.Errorf("byte %d of %d, with a name that fits: %v", i, len(object), err)
			}
		}
		for n := range object {
			if _, err := Parse(keys, digest.Sum(object[:n]), object[:n]); !errors.Is(err, seal.ErrDamaged) {
				t.Errorf("cut to %d bytes: %v", n, err)
			}
		}
	}
}

// TestAddNoticesChangedMemory: a payload that is not what its checksum was taken
// of does not get into a pack.
func TestAddNoticesChangedMemory(t *testing.T) {
	b, err := NewBuilder(testKeys(t, true), nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte("payload")
	sum := Sum(payload)
	payload[0] ^= 1
	if _, err := b.Add(index.Entry{}, payload, sum); err == nil {
		t.Error("changed bytes were sealed")
	}
}

// TestInline: what an unfinished pack holds can go into a manifest instead.
func TestInline(t *testing.T) {
	for _, encrypted := range []bool{true, false} {
		b, err := NewBuilder(testKeys(t, encrypted), nil)
		if err != nil {
			t.Fatal(err)
		}
		var rows []manifest.Chunk
		chunks := testChunks()
		for _, n := range []int{0, 1, 3, 1} { // one of them twice
			loc := index.Location{}
			if len(rows) == 3 {
				rows = append(rows, rows[1])
				continue
			}
			if loc, err = b.Add(chunks[n].entry, chunks[n].payload, Sum(chunks[n].payload)); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, manifest.Chunk{ID: chunks[n].entry.ID, Offset: loc.Offset, Stored: loc.Stored, Ordinal: loc.Ordinal})
		}
		inline, err := b.Inline(rows)
		if err != nil || len(inline) != 1+100+5000 {
			t.Fatalf("%d bytes inline, %v", len(inline), err)
		}
		for i, n := range []int{0, 1, 3, 1} {
			c := rows[i]
			if got := inline[c.Offset : c.Offset+c.Stored]; c.Pack != manifest.InlinePack || !bytes.Equal(got, chunks[n].payload) {
				t.Errorf("row %d: %+v", i, c)
			}
		}
	}
}

func TestTrailer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(seal.Overhead, MaxSize).Draw(t, "n")
		trailer := appendTrailer(nil, n)
		if got, err := FooterSize(trailer); err != nil || got != n {
			t.Fatalf("%d: %d, %v", n, got, err)
		}
		trailer[rapid.IntRange(0, TrailerSize-1).Draw(t, "byte")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		if _, err := FooterSize(trailer); !errors.Is(err, seal.ErrDamaged) {
			t.Fatalf("changed trailer: %v", err)
		}
	})
}

// FuzzParse reads what anybody may have put into the storage, under a name that
// fits it.
func FuzzParse(f *testing.F) {
	keys := make(map[bool]*seal.Keys) // slow to make
	for _, encrypted := range []bool{true, false} {
		keys[encrypted] = testKeys(f, encrypted)
		_, object, _ := build(f, keys[encrypted], testChunks())
		f.Add(encrypted, object)
		f.Add(encrypted, object[:len(object)-1])
	}
	f.Fuzz(func(t *testing.T, encrypted bool, object []byte) {
		p, err := Parse(keys[encrypted], digest.Sum(object), object)
		if err != nil {
			if !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrNewer) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if int(p.Size) != len(object) {
			t.Errorf("size %d of %d", p.Size, len(object))
		}
	})
}

// FuzzFooter reads footers that somebody with the key sealed: every chunk they
// list must lie within the pack.
func FuzzFooter(f *testing.F) {
	f.Add(index.AppendEntries(nil, nil), int64(200))
	f.Add(index.AppendEntries(nil, []index.Entry{{Stored: 16}, {Stored: 100, Raw: 84}}), int64(400))
	f.Add(index.AppendEntries(nil, []index.Entry{{Stored: 1 << 25}, {Stored: 1 << 25}}), int64(400))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, int64(1<<40))
	keys := testKeys(f, false)
	f.Fuzz(func(t *testing.T, footer []byte, size int64) {
		s, err := keys.NewObject(seal.Pack)
		if err != nil {
			t.Fatal(err)
		}
		box := s.Seal(nil, seal.FooterOrdinal, footerBind, footer)
		p, err := OpenFooter(keys, digest.ID{}, size, s.Header[:], box)
		if err != nil {
			if !errors.Is(err, seal.ErrDamaged) {
				t.Errorf("error does not wrap ErrDamaged: %v", err)
			}
			return
		}
		if got := index.AppendEntries(nil, p.Entries); !bytes.Equal(got, footer) {
			t.Errorf("encodes as %x", got)
		}
		p.Locations(FirstOffset, func(_ digest.ID, loc index.Location) {
			if int64(loc.Offset)+int64(loc.Stored)+int64(len(box))+int64(TrailerSize) > size {
				t.Errorf("a chunk at %d of %d bytes in a pack of %d", loc.Offset, loc.Stored, size)
			}
		})
	})
}
