package wal

import (
	"bytes"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// TestRotatedKeys: an archive that was opened before the keys were rotated goes on, and
// reads what was pushed since; so do marks of standbys, and verification.
func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	segments := []string{"000000010000000000000002", "000000010000000000000003", "000000010000000000000004"}
	content := func(i int) []byte { return segment(testSystem, mustName(t, segments[i]), 1<<20, 1) }
	w.must(w.put(testSystem, segments[0], content(0)))

	rotating, err := repo.Open(t.Context(), w.st, "write", repo.Options{Secret: w.secret, Concurrency: 1})
	w.must(err)
	_, _, err = rotating.RotateKeys(t.Context(), repo.RotateOptions{Now: time.Now()})
	w.must(err)
	after := *w
	after.a, err = Open(rotating, "main", DefaultContent)
	w.must(err)

	w.must(w.put(testSystem, segments[1], content(1))) // by who does not know yet
	w.must(after.put(testSystem, segments[2], content(2)))
	w.must(after.put(testSystem, segments[1], content(1))) // is there, the same
	w.must(w.put(testSystem, segments[2], content(2)))     // sealed with an epoch that is new to it
	for _, a := range []*Archive{w.a, after.a} {
		for i, file := range segments {
			if _, got, err := a.Get(t.Context(), testSystem, mustName(t, file)); err != nil || !bytes.Equal(got, content(i)) {
				t.Errorf("%s: %d bytes, %v", file, len(got), err)
			}
		}
	}
}
