//go:build linux

package profile

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

func TestSortOut(t *testing.T) {
	const traces = `File: x
Type: cpu
Duration: 1.2s, Total samples = 1.5s (125%)
-----------+-------------------------------------------------------
     370ms   runtime.memmove
             github.com/klauspost/compress/zstd.(*Decoder).DecodeAll
             github.com/gpdedup/gpdedup/repo.(*Repo).verifyPayload
-----------+-------------------------------------------------------
     1.20s   github.com/klauspost/compress/huff0.compress
             github.com/klauspost/compress/zstd.(*Encoder).EncodeAll (inline)
-----------+-------------------------------------------------------
      bytes:  [3 B]
      10ms   runtime.futex
-----------+-------------------------------------------------------
      20ms   github.com/klauspost/compress/zstd.(*Decoder).DecodeAll
             github.com/gpdedup/gpdedup/repo.(*Repo).Restore
`
	got, err := sortOut(strings.NewReader(traces))
	if err != nil {
		t.Fatal(err)
	}
	want := map[Part]time.Duration{Verify: 370 * time.Millisecond, Compress: 1200 * time.Millisecond, Rest: 10 * time.Millisecond, Decompress: 20 * time.Millisecond}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for part, d := range want {
		if got[part] != d {
			t.Errorf("%s took %v, want %v", part, got[part], d)
		}
	}
}

// TestPaths: all paths can be gone, and most of the time of a first backup has a name. A function that is renamed in the
// program, and not in the rules, shows here.
func TestPaths(t *testing.T) {
	table := tablegen.New(tablegen.Heap, 1, 40_000)
	var day1, day2 bytes.Buffer
	if _, err := table.WriteTo(&day1); err != nil {
		t.Fatal(err)
	}
	table.NextDay(tablegen.Daily(tablegen.Heap))
	if _, err := table.WriteTo(&day2); err != nil {
		t.Fatal(err)
	}
	paths, err := Paths(context.Background(), t.TempDir(), day1.Bytes(), day2.Bytes(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		var sum time.Duration
		for _, d := range p.Parts {
			sum += d
		}
		t.Logf("%s: %v of %v: %v", p.Name, sum, p.Wall, p.Parts)
		if p.Bytes == 0 {
			t.Errorf("%s has no bytes", p.Name)
		}
		if p.Name != "first" {
			continue
		}
		if p.Parts[Compress] == 0 || p.Parts[Rest] > sum/2 { // of so few samples no more can be said
			t.Errorf("of a first backup's time too little has a name: %v", p.Parts)
		}
	}
	limits, err := Limits(t.TempDir(), day1.Bytes())
	if err != nil || len(limits) != 6 {
		t.Errorf("limits %v, %v", limits, err)
	}
}
