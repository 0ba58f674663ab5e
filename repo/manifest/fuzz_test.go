package manifest

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/seal"
)

func FuzzDecode(f *testing.F) {
	for _, m := range []*Manifest{{}, testManifest()} {
		data, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)-1])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, seal.ErrNewer) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		// The JSON may be written in many ways; what it says must stay.
		again, err := m.Append(nil)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !back.Origin.Time.Equal(m.Origin.Time) {
			t.Errorf("time %v, want %v", back.Origin.Time, m.Origin.Time)
		}
		back.Origin.Time = m.Origin.Time
		if !reflect.DeepEqual(back, m) {
			t.Errorf("got\n%+v, want\n%+v", back, m)
		}
	})
}

func FuzzDecodeTable(f *testing.F) {
	for _, table := range []Table{{}, testTable()} {
		data, err := table.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := DecodeTable(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, seal.ErrNewer) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if again, err := table.Append(nil); err != nil || !bytes.Equal(again, data) {
			t.Errorf("encodes as %x, %v", again, err)
		}
		for _, rows := range [2][]Chunk{table.Rows, table.Bases} {
			for i := range rows {
				depth := 0
				for c := &rows[i]; c.Base != 0; c = &table.Bases[c.Base-1] {
					if depth++; depth > index.MaxDepth {
						t.Fatalf("row %d: the chain of bases has no end", i)
					}
				}
			}
		}
	})
}
