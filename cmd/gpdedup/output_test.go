package main

import (
	"bytes"
	"testing"
)

// Names come from whoever stored something. A terminal must not obey them.
func TestOutputIsHarmless(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	say(&out, "deleted %s", "a\x1b[2Jb\nc\t\x7f\u009b2J")
	table := newTable(&out)
	row(table, "NAME", "N", "")
	row(table, "x\ty\nz", 7, "note")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "deleted a?[2Jb; c???2J\nNAME    N\nx?y; z  7  note\n"
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
