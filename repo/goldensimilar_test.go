package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage/local"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// goldenSimilarDir holds a repository with deltas, bases that are deltas themselves,
// and a stream with a wrapping and a tail. It is made by -golden.update where it is
// missing, and never again.
const goldenSimilarDir = "testdata/golden/v1/similar"

func TestGoldenSimilar(t *testing.T) {
	if _, err := os.Stat(goldenSimilarDir); *updateGolden && errors.Is(err, os.ErrNotExist) {
		writeGoldenSimilar(t)
	}
	text, err := os.ReadFile(filepath.Join(goldenSimilarDir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string // timestamp → BLAKE3 of the content
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(goldenSimilarDir, "repo"))); err != nil {
		t.Fatal(err)
	}
	st, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r, err := Open(ctx, st, "read", Options{})
	if err != nil {
		t.Fatal(err)
	}
	deepest := uint8(0)
	for ts, sum := range want {
		name := backupName(ts, "t")
		m, err := r.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Table.Rows {
			deepest = max(deepest, m.Table.Rows[i].Depth)
		}
		if (m.Wrapping == manifest.Gzip && m.Tail == 17) != (ts == "20261105000000") {
			t.Errorf("%s: wrapping %d, tail %d", ts, m.Wrapping, m.Tail)
		}
		var out bytes.Buffer
		if err := r.RestoreManifest(ctx, m, &out, RestoreOptions{Unwrapped: true}); err != nil {
			t.Fatal(err)
		}
		if got := digest.Sum(out.Bytes()).String(); got != sum {
			t.Errorf("%s: %d bytes with hash %s, want %s", ts, out.Len(), got, sum)
		}
	}
	if len(want) < 5 || deepest < 3 {
		t.Errorf("%d streams, deltas of depth %d", len(want), deepest)
	}
	if report, err := r.Check(ctx, CheckOptions{Level: CheckData}); err != nil || len(report.Damage) != 0 {
		t.Errorf("check: %v, %+v", err, report)
	}
}

func writeGoldenSimilar(t *testing.T) {
	t.Helper()
	st := mem.New()
	limits := testLimits
	limits.DirectRows = 1024
	r := newTestRepo(t, st, Secret{}, Options{Limits: limits, Delta: DeltaOn, Version: "golden"})
	sums := make(map[string]string)
	data := randomText(1, 150<<10)
	var previous []Name
	for day := range 5 {
		name := backupName(fmt.Sprintf("202611%02d000000", day+1), "t")
		o := WriteOptions{Previous: previous}
		if day == 4 {
			o.Wrapping = func() (manifest.Wrapping, uint64) { return manifest.Gzip, 17 }
		}
		put(t, r, name, data, o)
		sums[name.Group] = digest.Sum(data).String()
		previous = []Name{name}
		data = scattered(uint64(day), data, 4000)
	}
	writeGoldenFiles(t, goldenSimilarDir, st, sums)
}
