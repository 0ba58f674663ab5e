package base

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestDirectory: without the last step no server starts from a data directory; what is
// about the server that the backup was taken from does not come along.
func TestDirectory(t *testing.T) {
	files := backupFiles(file{"postgresql.auto.conf", []byte("work_mem = '1MB'\nrecovery_target_time = 'x'")}, file{"standby.signal", []byte{}},
		file{"pg_tblspc/16384/PG_15/1", []byte("there")})
	stream, _, info, err := through(tarOf(t, append(slices.Clone(files), file{manifestName, listing(files)})), 4096, 4096)
	if err != nil {
		t.Fatal(err)
	}
	server, err := parseManifest(stream[info.Manifest.Offset:][:info.Manifest.Length])
	if err != nil {
		t.Fatal(err)
	}
	info.Tablespaces = []Tablespace{{"16384", "/nowhere/fast"}}
	root, space := filepath.Join(t.TempDir(), "a", "data"), filepath.Join(t.TempDir(), "fast")
	d, err := newDirectory(root, info, map[string]string{"16384": space})
	if err != nil {
		t.Fatal(err)
	}
	if err := unpack(context.Background(), bytes.NewReader(stream), server, d); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{controlName, autoName, "standby.signal", infoName} {
		if _, err := os.Stat(filepath.Join(root, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there before the end: %v", name, err)
		}
	}
	if err := d.finish([]byte("restore_command = 'x'\n"), "recovery.signal"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		controlName: string(control()), autoName: "work_mem = '1MB'\nrestore_command = 'x'\n", "recovery.signal": "", "pg_tblspc/16384/PG_15/1": "there",
	} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if to, err := os.Readlink(filepath.Join(root, "pg_tblspc/16384")); to != space {
		t.Error(to, err)
	}
	if _, err := newDirectory(root, &Info{}, nil); err == nil {
		t.Error("a directory that is not empty was taken")
	}
	if _, err := newDirectory(filepath.Join(t.TempDir(), "new"), info, map[string]string{"7": "/x", "16384": "/y"}); err == nil {
		t.Error("a tablespace that is none was taken")
	}
}
