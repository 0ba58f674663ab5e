package main

import (
	"strings"
	"testing"
)

// TestLocality is a short month: it compares by itself what is restored.
func TestLocality(t *testing.T) {
	dir := t.TempDir()
	text, err := run(t.Context(), settings{days: 4, keep: 2, rows: 5000, dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text, "| … ratio |"); n != 8 {
		t.Errorf("%d ratios in %s", n, text)
	}
}
