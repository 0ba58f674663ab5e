package wal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/local"
)

// golden says what testdata/golden/v1 must give for ever.
type golden struct {
	System  SystemID          `json:"system"`
	Files   map[string]string `json:"files"` // name: hash
	Standby string            `json:"standby"`
	From    string            `json:"from"`
	Point   string            `json:"point"`
}

// goldenDirs have an archive each: the first with pieces as zstd has them, the second with
// quick ones.
var goldenDirs = []string{"testdata/golden/v1", "testdata/golden/v1-quick"}

func openGolden(t testing.TB, goldenDir, operation string) (*repo.Repo, *Archive) {
	t.Helper()
	st, err := local.Open(filepath.Join(goldenDir, "repository"))
	if err != nil {
		t.Fatal(err)
	}
	// Its file has the mode that the checkout gave it.
	key, err := os.ReadFile(filepath.Join(goldenDir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	secret := repo.Secret{KeyFile: filepath.Join(t.TempDir(), "key")}
	if err := os.WriteFile(secret.KeyFile, key, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), st, operation, repo.Options{Secret: secret, Concurrency: 2})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(r, "golden", "-1")
	if err != nil {
		t.Fatal(err)
	}
	return r, a
}

// TestGolden reads an archive of format version 1 that was written long ago: a segment
// of a real server with predicted pieces, one that is none of any server, a partial
// one, a history, a label, a mark and a restore point.
func TestGolden(t *testing.T) {
	t.Parallel()
	for i, dir := range goldenDirs {
		predicted := []index.Encoding{encodingPredicted, encodingQuickPredicted}[i]
		t.Run(filepath.Base(dir), func(t *testing.T) { t.Parallel(); testGolden(t, dir, predicted) })
	}
}

func testGolden(t *testing.T, goldenDir string, predicted index.Encoding) {
	text, err := os.ReadFile(filepath.Join(goldenDir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want golden
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	r, a := openGolden(t, goldenDir, "read")
	if len(want.Files) != 5 {
		t.Fatalf("%+v", want)
	}
	for file, hash := range want.Files {
		_, data, err := a.Get(t.Context(), want.System, mustName(t, file))
		if err != nil || digest.Sum(data).String() != hash {
			t.Errorf("%s: %d bytes, %v", file, len(data), err)
		}
		// A server's WAL is what prediction is made for; anything else is not.
		name := mustName(t, file)
		object, err := a.st.Get(t.Context(), a.key(want.System, name), MaxObject)
		if err != nil {
			t.Fatal(err)
		}
		info, s, err := openInfo(a.keys, a.key(want.System, name), name, object)
		if err != nil {
			t.Fatal(err)
		}
		piece, err := s.Open(nil, 1, []byte(a.key(want.System, name)), object[metaEnd:][:info.boxes[0]])
		if err != nil || (index.Encoding(piece[0]) == predicted) != (name.Kind == Segment && name.Seg == 7) {
			t.Errorf("%s: encoding %d, %v", file, piece[0], err)
		}
	}
	marks, err := a.Marks(t.Context(), want.System)
	if err != nil || len(marks) != 1 || marks[0].Standby != want.Standby || marks[0].From.String() != want.From {
		t.Errorf("%+v, %v", marks, err)
	}
	points, err := RestorePoints(t.Context(), r, "golden")
	if err != nil || len(points) != 1 || points[0].Name != want.Point || points[0].Points[0].Content != "-1" {
		t.Errorf("%+v, %v", points, err)
	}
}

// TestMakeGolden makes the archive of TestGolden, when GPDEDUP_GOLDEN_SEGMENT names a
// segment of a real server. What is there is not touched.
func TestMakeGolden(t *testing.T) {
	path := os.Getenv("GPDEDUP_GOLDEN_SEGMENT")
	if path == "" {
		t.Skip("only to make a new one")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	goldenDir := goldenDirs[len(goldenDirs)-1]
	must(os.MkdirAll(goldenDir, 0o755))
	must(repo.CreateKeyFile(filepath.Join(goldenDir, "key")))
	st, err := local.Create(filepath.Join(goldenDir, "repository"))
	must(err)
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	_, err = repo.Init(t.Context(), st, repo.InitOptions{Secret: repo.Secret{KeyFile: filepath.Join(goldenDir, "key")}, Now: now})
	must(err)
	r, a := openGolden(t, goldenDir, "write")
	w := newWorld(t, true)
	w.a = a
	real, err := os.ReadFile(path)
	must(err)
	h, err := ParsePageHeader(real)
	must(err)
	made := mustName(t, "00000002000000000000000A")
	content := make([]byte, MinSegmentSize)
	copy(content, segment(h.System, made, MinSegmentSize, 1)[:PageHeaderSize])
	partial := mustName(t, "000000010000000000000009.partial")
	half := make([]byte, MinSegmentSize)
	copy(half, segment(h.System, partial, MinSegmentSize, 1)[:PageHeaderSize])
	g := golden{System: h.System, Files: map[string]string{}, Standby: "a standby", From: made.String(), Point: "monday"}
	for file, data := range map[string][]byte{
		filepath.Base(path): real, made.String(): content, partial.String(): half,
		"00000002.history":                         []byte("1\t0/980000\tno recovery target specified\n"),
		"000000010000000000000002.00000028.backup": []byte(labelText),
	} {
		must(w.put(h.System, file, data))
		g.Files[file] = digest.Sum(data).String()
	}
	must(a.SetMark(t.Context(), h.System, g.Standby, made, now))
	p := Point{Content: "-1", LSN: "0/A00028"}
	must(a.Locate(t.Context(), &p))
	must(PutRestorePoint(t.Context(), r, "golden", RestorePoint{Name: g.Point, Time: now, Points: []Point{p}}))
	text, err := json.MarshalIndent(g, "", "  ")
	must(err)
	must(os.WriteFile(filepath.Join(goldenDir, "golden.json"), append(text, '\n'), 0o644))
}
