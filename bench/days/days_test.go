package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/gpdedup/gpdedup/bench/internal/process"
)

func TestMain(m *testing.M) {
	process.Main(nil)
	os.Exit(m.Run())
}

// TestDays is a short run of either source: each compares by itself what is restored.
func TestDays(t *testing.T) {
	program := os.Getenv("GPDEDUP_BINARY")
	if program == "" {
		program = filepath.Join(t.TempDir(), "gpdedup")
		if out, err := exec.Command("go", "build", "-o", program, "../../cmd/gpdedup").CombinedOutput(); err != nil {
			t.Fatalf("build: %v: %s", err, out)
		}
	}
	second := regexp.MustCompile(`found a base, second day \| ([0-9.]+) % of [0-9]+ \| ([0-9.]+) %`)
	for _, source := range []string{"tablegen", "postgres"} {
		t.Run(source, func(t *testing.T) {
			if _, err := os.Stat(postgresBin); err != nil && source == "postgres" {
				t.Skip("PostgreSQL 15 is not installed")
			}
			text, err := run(context.Background(), settings{gpdedup: program, source: source, rows: 20_000, days: 2, alone: true})
			if err != nil {
				t.Fatal(err)
			}
			shares := second.FindStringSubmatch(text)
			if shares == nil {
				t.Fatalf("no shares in %s", text)
			}
			for _, share := range shares[1:] {
				if found, err := strconv.ParseFloat(share, 64); err != nil || found < 75 {
					t.Errorf("%s %% of the changed chunks found a base", share)
				}
			}
		})
	}
	if _, err := run(context.Background(), settings{gpdedup: program, source: "oracle"}); err == nil {
		t.Error("an unknown source is accepted")
	}
}
