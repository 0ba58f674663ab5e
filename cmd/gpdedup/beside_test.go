package main

import (
	"strings"
	"testing"
)

// TestOtherCommand: what is left behind takes the same command line, whatever the cluster is called.
func TestOtherCommand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"wal push FILE":                     "wal ahead FILE",
		"wal push --cluster push FILE":      "wal ahead --cluster push FILE",
		"wal push --cluster wal FILE":       "wal ahead --cluster wal FILE",
		"--repo /r wal --content=1 push F":  "--repo /r wal --content=1 ahead F",
		"--namespace wal wal push FILE":     "--namespace wal wal ahead FILE",
		"wal --cluster push push FILE":      "",
		"--namespace wal wal --cluster wal": "",
		"wal":                               "",
		"":                                  "",
	} {
		got, err := otherCommand(strings.Fields(line), "push", "ahead")
		if text := strings.Join(got, " "); text != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s (%v)", line, text, err)
		}
	}
}
