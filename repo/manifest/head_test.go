package manifest

import (
	"errors"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/index"
)

// TestHead: the head alone says what the whole manifest does, and reads nothing behind it.
func TestHead(t *testing.T) {
	t.Parallel()
	m := &Manifest{
		Wrapping: Gzip, Length: 8, Tail: 3, Origin: Origin{Host: "h", Time: time.Unix(1, 0).UTC()}, Stats: Stats{Chunks: 2, NewStored: 77},
		Table: Table{Rows: []Chunk{{Raw: 8, Stored: 8, Pack: InlinePack, Encoding: index.Raw}}}, Inline: []byte("contents"),
	}
	data, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	head, err := DecodeHead(data)
	if err != nil || head != whole.Head() || head != m.Head() {
		t.Errorf("%+v, %v, want %+v", head, err, m.Head())
	}
	short := 0
	for n := range len(data) {
		if h, err := DecodeHead(data[:n]); err == nil && h != head {
			t.Errorf("of %d bytes: %+v", n, h)
		} else if err != nil {
			short++
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("of %d bytes: %v", n, err)
			}
		}
	}
	if short < 100 || short == len(data) {
		t.Errorf("%d of %d beginnings are too short", short, len(data))
	}
	data[0] = 2
	if _, err := DecodeHead(data); err == nil {
		t.Error("a version that nobody knows is read")
	}
}
