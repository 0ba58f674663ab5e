package plugin

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/repo"
)

func mustName(t *testing.T, path string) repo.Name {
	t.Helper()
	n, err := StreamName(DefaultNamespace, path)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// damage flips a bit in the middle of the largest pack.
func (w *world) damage() {
	w.t.Helper()
	var largest string
	var size int64
	w.must(filepath.Walk(filepath.Join(w.repository, "packs"), func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	}))
	data, err := os.ReadFile(largest)
	w.must(err)
	data[len(data)/2] ^= 1
	w.must(os.Chmod(largest, 0o600))
	w.must(os.WriteFile(largest, data, 0o600))
}

// TestRestoreDamaged: what goes out is a beginning of the stream, the rest is an
// error, and a file never appears.
func TestRestoreDamaged(t *testing.T) {
	w := newWorld(t)
	data := rows(1, 3<<20)
	w.good(data, "backup_data", w.config, w.path("1"))
	w.damage()
	r := w.run(nil, "restore_data", w.config, w.path("1"))
	if r.code != 4 || len(r.stdout) >= len(data) || !strings.HasPrefix(string(data), r.stdout) {
		t.Errorf("exit %d with %d bytes of %d: %s", r.code, len(r.stdout), len(data), r.stderr)
	}
	w.checkSaid(r.stderr)
	w.must(os.MkdirAll(w.backupDir(ts), 0o755))
	w.bad(4, nil, "restore_file", w.config, w.path("1"))
	w.must(os.WriteFile(w.path("1"), []byte("old"), 0o444))
	w.bad(4, nil, "restore_file", w.config, w.path("1"))
	if old, err := os.ReadFile(w.path("1")); err != nil || string(old) != "old" {
		t.Errorf("the old file: %q, %v", old, err)
	}
	w.must(os.Remove(w.path("1")))
	if left, err := os.ReadDir(w.backupDir(ts)); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestRestoreMissing(t *testing.T) {
	w := newWorld(t)
	w.bad(1, nil, "restore_data", w.config, w.path("1"))
	w.bad(1, nil, "restore_file", w.config, w.path("1"))
	if _, err := os.Stat(w.dir + "/seg0"); err == nil {
		t.Error("restore_file made directories for nothing")
	}
	offsets := filepath.Join(w.dir, "offsets")
	w.must(os.WriteFile(offsets, []byte("1 0 1"), 0o600))
	w.bad(1, nil, "restore_data_subset", w.config, w.path("1"), offsets)
}

func TestRestoreFileMakesDirectories(t *testing.T) {
	w := newWorld(t)
	w.good([]byte("data"), "backup_data", w.config, w.path("1"))
	w.good(nil, "restore_file", w.config, w.path("1"))
	for _, dir := range []string{w.dir + "/seg0", w.dir + "/seg0/backups", w.backupDir(ts)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
	// Something is in the way.
	blocked := "/dev/null/" + ts + "/" + filepath.Base(w.path("1"))
	w.bad(1, nil, "restore_file", w.config, blocked)
	w.must(os.Remove(w.path("1")))
	w.must(os.Mkdir(w.path("1"), 0o755))
	w.bad(1, nil, "restore_file", w.config, w.path("1"))
	if left, err := os.ReadDir(w.backupDir(ts)); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestRestoreSubset(t *testing.T) {
	w := newWorld(t)
	data := rows(1, 2<<20)
	w.good(data, "backup_data", w.config, w.path("1"))
	offsets := filepath.Join(w.dir, "offsets")
	for text, want := range map[string]string{
		"1 3 10":                   string(data[3:10]),
		"2 0 700000 900000 900001": string(data[:700000]) + string(data[900000:900001]),
		"3 900 910 0 0 5 20":       string(data[900:910]) + string(data[5:20]),
		"2 10 30 20 40":            string(data[10:30]) + string(data[20:40]),
		"1 0 2097152":              string(data),
		"0":                        "",
		"1 0 0":                    "",
	} {
		w.must(os.WriteFile(offsets, []byte(text), 0o600))
		if got := w.good(nil, "restore_data_subset", w.config, w.path("1"), offsets); got != want {
			t.Errorf("%s: %d bytes, want %d", text, len(got), len(want))
		}
	}
}

// TestReaderLeaves: a reader that has enough is no error, whether or not the caller
// ignores SIGPIPE.
func TestReaderLeaves(t *testing.T) {
	w := newWorld(t)
	data := rows(1, 8<<20) // more than a pipe holds
	w.good(data, "backup_data", w.config, w.path("1"))
	for _, trap := range []string{"", "trap '' PIPE; "} {
		cmd := exec.Command("sh", "-c", trap+`exec "$0" "$@"`, executable, "restore_data", w.config, w.path("1"))
		cmd.Dir, cmd.Env = w.pgdata, w.env
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		w.must(err)
		w.must(cmd.Start())
		head := make([]byte, 10)
		_, err = io.ReadFull(out, head)
		w.must(err)
		w.must(out.Close())
		_ = cmd.Wait()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if string(head) != string(data[:10]) || said.Len() != 0 || !status.Signaled() || status.Signal() != syscall.SIGPIPE {
			t.Errorf("%sstatus %v, stderr %q", trap, cmd.ProcessState, said.String())
		}
	}
}

// TestOutputEndsBeforeTheError: gpbackup_helper looks at standard error before it has
// read standard output to its end, so that must have ended before anything is said.
func TestOutputEndsBeforeTheError(t *testing.T) {
	w := newWorld(t)
	var full [2]int
	w.must(unix.Pipe2(full[:], unix.O_CLOEXEC))
	w.must(unix.SetNonblock(full[1], true))
	filled := 0
	for _, size := range []int{4096, 1} {
		for {
			n, err := unix.Write(full[1], make([]byte, size))
			if err != nil {
				break
			}
			filled += n
		}
	}
	w.must(unix.SetNonblock(full[1], false))
	said, there := os.NewFile(uintptr(full[1]), "stderr"), os.NewFile(uintptr(full[0]), "pipe")
	defer there.Close()

	cmd := w.command("restore_data", w.config, w.path("missing"))
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	w.must(said.Close())
	// Nobody reads standard error yet, and there is no room in it.
	if data, err := io.ReadAll(out); err != nil || len(data) != 0 {
		t.Errorf("stdout: %d bytes, %v", len(data), err)
	}
	text, err := io.ReadAll(there)
	w.must(err)
	_ = cmd.Wait()
	if exitCode(cmd) != 1 {
		t.Errorf("exit %d", exitCode(cmd))
	}
	w.checkSaid(string(text[filled:]))
}

// TestOutputFull: a reader's failure that is not its leaving is an error.
func TestOutputFull(t *testing.T) {
	w := newWorld(t)
	w.good(rows(1, 1<<20), "backup_data", w.config, w.path("1"))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	w.must(err)
	defer full.Close()
	cmd := w.command("restore_data", w.config, w.path("1"))
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = full, &said
	_ = cmd.Run()
	if exitCode(cmd) != 1 {
		t.Errorf("exit %d", exitCode(cmd))
	}
	w.checkSaid(said.String())
}
