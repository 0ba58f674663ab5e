package pushtest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestRotatedKeys: what was pushed before and after the keys were rotated comes back.
func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.stopped(2)
	push := func(file string) {
		t.Helper()
		if code, _, said := ends(w.push(c, file)); code != "0" {
			t.Fatalf("%s: %s: %s", file, code, said)
		}
	}
	push(files[0])
	w.succeeds("repo", "key", "rotate")
	push(files[1])
	push(files[0]) // is there, the same
	w.succeeds("wal", "verify", "--cluster", "main")
	for _, file := range files {
		want, err := os.ReadFile(path(c, file))
		w.must(err)
		to := filepath.Join(w.dir, file)
		w.succeeds("wal", "fetch", "--cluster", "main", file, to)
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", file, len(got), err)
		}
	}
}
