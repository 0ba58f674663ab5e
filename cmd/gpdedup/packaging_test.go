package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/plugin"
)

// What the units of the packages run is a command line that this version takes.
func TestUnitsCallWhatThereIs(t *testing.T) {
	t.Parallel()
	units, err := filepath.Glob("../../packaging/systemd/*.service")
	if err != nil || len(units) < 2 {
		t.Fatalf("%d units: %v", len(units), err)
	}
	for _, unit := range units {
		f, err := os.Open(unit)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		called := false
		for lines := bufio.NewScanner(f); lines.Scan(); {
			command, found := strings.CutPrefix(lines.Text(), "ExecStart=/usr/bin/gpdedup ")
			if !found {
				continue
			}
			called = true
			parser, err := newParser(&CLI{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(strings.Fields(command)); err != nil {
				t.Errorf("%s: %s: %v", unit, command, err)
			}
		}
		if !called {
			t.Errorf("%s runs nothing of ours", unit)
		}
		timer := strings.TrimSuffix(unit, ".service") + ".timer"
		if _, err := os.Stat(timer); err != nil {
			t.Error(err)
		}
	}
}

// The example of a configuration is one, with every option that is commented out, too.
func TestExampleOfConfiguration(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../packaging/gpdedup.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(example), "\n  # ", "\n  ")
	if text == string(example) {
		t.Fatal("nothing is commented out")
	}
	path := filepath.Join(t.TempDir(), "gpdedup.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := plugin.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Repository != "/backup/gpdedup" || c.Namespace != "production" || c.Concurrency != 4 {
		t.Errorf("read %+v", c)
	}
}
