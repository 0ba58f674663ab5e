package plugin

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFullDisk: a disk that fills up in the middle of a stream fails that stream with
// a clear message, and the backup before it restores from the full disk. The disk is
// a small file system of its own, mounted where only the test's processes see it.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	small := rows(1, 300<<10)
	large := make([]byte, 12<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range large {
		large[i] = byte(rng.Uint32())
	}
	for name, data := range map[string][]byte{"small": small, "large": large} {
		w.must(os.WriteFile(filepath.Join(w.dir, name), data, 0o600))
	}
	script := `set -eu
mount -t tmpfs -o size=6m,mode=700 tmpfs "$REPO"
"$EXE" repo init --repo "$REPO" --key-file "$KEY" >/dev/null
"$EXE" backup_data "$CONFIG" "$ONE" <"$DIR/small"
rc=0; "$EXE" backup_data "$CONFIG" "$TWO" <"$DIR/large" 2>"$DIR/said" || rc=$?
echo "large: $rc"
rc=0; "$EXE" restore_data "$CONFIG" "$TWO" >"$DIR/two" 2>/dev/null || rc=$?
echo "two: $rc"
"$EXE" restore_data "$CONFIG" "$ONE" >"$DIR/one"
"$EXE" repo check --read-data --repo "$REPO" --key-file "$KEY" >/dev/null
echo "whole"
`
	disk := filepath.Join(w.dir, "disk")
	w.must(os.Mkdir(disk, 0o700))
	w.repository, w.key = disk, filepath.Join(w.dir, "disk.key")
	w.configure("cache_dir: " + w.cache)
	unshare := []string{"--mount", "sh", "-c", script}
	if os.Geteuid() != 0 {
		unshare = append([]string{"--user", "--map-root-user"}, unshare...)
	}
	cmd := exec.Command("unshare", unshare...)
	cmd.Dir = w.pgdata
	cmd.Env = append(w.env, "EXE="+executable, "REPO="+disk, "KEY="+w.key, "CONFIG="+w.config, "DIR="+w.dir,
		"ONE="+w.path("1"), "TWO="+w.path("2"))
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "large: 1\ntwo: 1\nwhole\n" {
		t.Fatalf("%v: %s", err, out)
	}
	said, err := os.ReadFile(filepath.Join(w.dir, "said"))
	w.must(err)
	w.checkSaid(string(said))
	if !strings.Contains(string(said), "no space left") {
		t.Errorf("%q", said)
	}
	one, err := os.ReadFile(filepath.Join(w.dir, "one"))
	w.must(err)
	if !bytes.Equal(one, small) {
		t.Error("the earlier backup differs")
	}
	if two, err := os.ReadFile(filepath.Join(w.dir, "two")); err != nil || len(two) != 0 {
		t.Errorf("%d bytes of what failed came back, %v", len(two), err)
	}
}
