//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/bench/internal/machine"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/internal/sample"
)

func TestMain(m *testing.M) {
	process.Main(roles)
	os.Exit(m.Run())
}

func program(t *testing.T) string {
	t.Helper()
	if exe := os.Getenv("GPDEDUP_BINARY"); exe != "" {
		return exe
	}
	exe := filepath.Join(t.TempDir(), "gpdedup")
	if out, err := exec.Command("go", "build", "-o", exe, "../../cmd/gpdedup").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return exe
}

// document has a section of each name, as docs/performance.md.
func document(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, name := range sections() {
		text.WriteString("<!-- " + name + ":begin -->\n<!-- " + name + ":end -->\n")
	}
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRun measures a tiny bit of everything that needs neither a peer nor a server, twice: the second time one topic,
// while what there is of the others stays; and draws it again without measuring.
func TestRun(t *testing.T) {
	place, doc := t.TempDir(), document(t)
	args := []string{"--gpdedup", program(t), "--dir", place, "--update", doc, "--size", "1MB", "--rounds", "1", "--peers", "zstd,cp"}
	topics := []string{"table", "append", "noise", "small", "large", "days", "memory"}
	for _, only := range [][]string{topics, {"noise"}} {
		set, err := parse(append(args, "--only", strings.Join(only, ",")))
		if err != nil {
			t.Fatal(err)
		}
		set.indexChunks = 1000
		if err := run(context.Background(), set); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(place); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	kept, err := results.Read(filepath.Join(filepath.Dir(doc), "plots", "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		if kept.Topics[topic] == nil {
			t.Errorf("nothing is kept of %s", topic)
		}
	}
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"restore / `zstd -d -c`, through a pipe |", "| a shell |", "| BLAKE3 |", "of which each changes 1.3 %", "1 MB of table text, large index, restored"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if bytes.Contains(text, []byte("NaN")) || bytes.Contains(text, []byte("Inf")) {
		t.Errorf("not a number in\n%s", text)
	}
	set, err := parse(append(args, "--redraw"))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), set); err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(doc)
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("drawn again it differs, %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	place := t.TempDir()
	set, err := parse([]string{"--gpdedup", program(t), "--dir", place, "--update", document(t), "--size", "1MB", "--peers", "", "--only", "noise"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := run(ctx, set); !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	if left, err := os.ReadDir(place); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestParse(t *testing.T) {
	set, err := parse([]string{"--quick", "--only", "table,wal", "--peers", "restic"})
	if err != nil || set.update != "" || set.rounds != 2 || set.size != 16_000_000 || !slices.Equal(set.only, []string{"table", "wal"}) || !slices.Equal(set.peers, []string{"restic"}) {
		t.Errorf("parse = %+v, %v", set, err)
	}
	set, err = parse(nil)
	if err != nil || set.update != "docs/performance.md" || set.plots != filepath.Join("docs", "plots") || slices.Contains(set.only, "s3") || !slices.Contains(set.only, "profile") || len(set.peers) != 6 {
		t.Errorf("parse = %+v, %v", set, err)
	}
	for _, args := range [][]string{
		{"x"}, {"--only", "all"}, {"--peers", "tar"}, {"--rounds", "0"}, {"--size", "10"}, {"--size", "big"}, {"--quick", "--large"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("parse(%q) succeeds", args)
		}
	}
}

// TestDocument: the document that the figures go to has a place for each, and shows each plot that is drawn.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sections() {
		if !bytes.Contains(text, []byte("<!-- "+name+":begin -->\n")) || !bytes.Contains(text, []byte("<!-- "+name+":end -->\n")) {
			t.Errorf("no section %q", name)
		}
	}
	source := ""
	for _, p := range documentParts {
		if t := full().Topics[p.name]; t != nil {
			source += p.write(t, full())
		}
	}
	for _, plot := range regexp.MustCompile(`\(plots/(\w+\.svg)\)`).FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join("../../docs/plots", plot[1])); err != nil {
			t.Error(err)
		}
	}
	for _, d := range drawings {
		if !strings.Contains(source, "(plots/"+d.name+".svg)") {
			t.Errorf("nothing shows plot %q", d.name)
		}
	}
}

// full has made-up figures of everything that a goal or a plot is about.
func full() *results.Results {
	r := &results.Results{Topics: map[string]*results.Topic{}}
	for _, name := range []string{"table", "append", "noise", "large", "small", "days", "wal"} {
		t := &results.Topic{Taken: machine.Taken{Cores: 2}, Rounds: 2}
		data, _ := json.Marshal([]map[string]string{{"name": "gpdedup"}, {"name": "restic"}, {"name": "kopia"}})
		_ = json.Unmarshal(data, &t.Programs) // of what was just written
		add := func(program, phase string, seconds float64) {
			run := t.Run(program, phase)
			run.Bytes, run.Streams = 1e8, 10
			for _, s := range []*sample.Sample{&run.Wall, &run.CPU} {
				*s = sample.Sample{seconds, seconds * 1.1}
			}
			run.Peak, run.Anon, run.Stored = sample.Sample{2 << 20}, sample.Sample{1 << 20}, sample.Sample{1e6, 2e6}
		}
		for i, name := range []string{"gpdedup", "restic", "kopia", zstdName, unzstdName, blake3Name, shellName, cpName, partsName, slowStorage, pgBackRest, pgBackRestAsync, "pgBackRest"} {
			for _, phase := range []string{first, unchanged, next, restored, toNull, elsewhere, partsTotal, storing, aDay, walOne, walMany, walFetch, walReplay} {
				add(name, phase, float64(i+1))
			}
		}
		r.Topics[name] = t
	}
	return r
}

// TestPlots: every plot is well-formed, and has something in it.
func TestPlots(t *testing.T) {
	dir := t.TempDir()
	if err := draw(dir, full()); err != nil {
		t.Fatal(err)
	}
	for _, d := range drawings {
		svg, err := os.ReadFile(filepath.Join(dir, d.name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		marks := 0
		for decoder := xml.NewDecoder(bytes.NewReader(svg)); ; {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", d.name, err)
			}
			if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "rect" || e.Name.Local == "polyline") {
				marks++
			}
		}
		if marks < 4 || bytes.Contains(svg, []byte("NaN")) {
			t.Errorf("%s has %d marks:\n%s", d.name, marks, svg)
		}
	}
	// Nothing is drawn of nothing.
	empty := t.TempDir()
	if err := draw(empty, &results.Results{}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(empty); len(left) > 0 {
		t.Errorf("drawn of nothing: %v", left)
	}
}

// TestGoals: a goal is met on one side of its bound only, and all of them find their figures.
func TestGoals(t *testing.T) {
	r := full()
	text := goalsText(r)
	if rows := strings.Count(text, "\n| ") - 1; rows != len(goals) {
		t.Errorf("%d of %d goals have figures:\n%s", rows, len(goals), text)
	}
	// In full, restic takes twice as long as gpdedup, and kopia three times.
	if !strings.Contains(text, "| first backup / the fastest peer's (restic) | 2.00 | ≥ 1.5 | yes |") {
		t.Errorf("first backup:\n%s", text)
	}
	if !strings.Contains(text, "| unchanged backup / the fastest peer's (restic) | 2.00 | ≥ 4 | **no** |") {
		t.Errorf("unchanged backup:\n%s", text)
	}
	if goalsText(&results.Results{}) != "" {
		t.Error("goals without figures")
	}
}

// TestSame: what comes back is compared.
func TestSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"abc": true, "abd": false, "abcd": false, "": false} {
		err := same(file, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
		if (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
