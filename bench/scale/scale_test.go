//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/bench/internal/process"
)

// TestMain lets the test's own program be the one that children are started from.
func TestMain(m *testing.M) {
	process.Main(nil)
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestScale is a small run of everything: each part looks by itself whether what it measures is right.
func TestScale(t *testing.T) {
	program := os.Getenv("GPDEDUP_BINARY")
	if program == "" {
		program = filepath.Join(t.TempDir(), "gpdedup")
		if out, err := exec.Command("go", "build", "-o", program, "../../cmd/gpdedup").CombinedOutput(); err != nil {
			t.Fatalf("build: %v: %s", err, out)
		}
	}
	document := filepath.Join(t.TempDir(), "figures.md")
	var text strings.Builder
	for _, topic := range topics {
		text.WriteString("<!-- scale-" + topic + ":begin -->\n<!-- scale-" + topic + ":end -->\n")
	}
	if err := os.WriteFile(document, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	set := settings{exe: program, update: document, dir: t.TempDir(), only: topics, sizes: 1, divide: 50}
	if err := run(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| first look-ups of a fresh process |", "| repo check |", "| … memory of restore_data |"} {
		if strings.Count(string(written), row) != 1 {
			t.Errorf("no row %q in %s", row, written)
		}
	}
	if left, err := os.ReadDir(set.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
