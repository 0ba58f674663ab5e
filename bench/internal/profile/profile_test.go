//go:build linux

package profile

import (
	"bytes"
	"context"
	"os"
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

// TestRules: what the rules look for is in the program. What is renamed there, and not here, shows.
func TestRules(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		// The rule itself is in there, too, but without what stands before it in the names of functions.
		found := false
		for _, before := range []string{"github.com/gpdedup/gpdedup/", "github.com/gpdedup/", "github.com/klauspost/compress/", "github.com/"} {
			found = found || bytes.Contains(program, []byte(before+rule.text))
		}
		if standard := !strings.Contains(rule.text, "repo") && (strings.HasPrefix(rule.text, "runtime.") || rule.text == "crypto/" || rule.text == "syscall."); !found && !standard {
			t.Errorf("no function has %q", rule.text)
		}
	}
}

// TestPaths: all paths can be gone, and most of the time of a first backup has a name.
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
	paths, err := Paths(context.Background(), t.TempDir(), day1.Bytes(), day2.Bytes(), 500*time.Millisecond, "") // fewer samples could miss a part
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
		if p.Name == "first" && (p.Parts[Compress] == 0 || p.Parts[Rest] > sum/3) {
			t.Errorf("a first backup spends %v", p.Parts)
		}
	}
	limits, err := Limits(t.TempDir(), day1.Bytes())
	if err != nil || len(limits) != 6 {
		t.Errorf("limits %v, %v", limits, err)
	}
}
