package fetchtest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// pretend makes the data directory look like that of a server in recovery.
func pretend(w *world, c *pgtest.Cluster) {
	w.Helper()
	c.Touch(w, "recovery.signal")
	server := host.Command("sleep", "600")
	w.must(server.Start())
	w.Cleanup(func() { _, _ = server.Process.Kill(), server.Wait() })
	file := filepath.Join(c.Data, "postmaster.pid")
	w.must(os.WriteFile(file, []byte(strconv.Itoa(server.Process.Pid)+"\n"), 0o600))
	w.must(host.Give(file))
}

// TestPrefetchProcess: the process that fetches ahead has nothing of whoever waits for
// wal fetch, serves what comes next without the repository, stays within its bounds,
// and ends, and clears away, when the server does not recover any more.
func TestPrefetchProcess(t *testing.T) {
	t.Parallel()
	w, c := pastWorld(t)
	pretend(w, c)
	segments := history().segments
	dest := filepath.Join("pg_wal", "RECOVERYXLOG")
	fetch := func(file string) (string, string) {
		t.Helper()
		cmd := w.command("wal", "fetch", "--cluster", "main", "--prefetch", "3MiB", "--patience", "0s", file, dest)
		cmd.Dir = c.Data
		return w.ends(cmd)
	}
	cmd := w.command("wal", "fetch", "--cluster", "main", "--prefetch", "3MiB", segments[0], dest)
	cmd.Dir = c.Data
	read, write, err := os.Pipe()
	w.must(err)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &said, &said, []*os.File{write}
	w.must(cmd.Run()) // ends only when nobody has its pipes any more
	w.must(write.Close())
	if rest, err := io.ReadAll(read); err != nil || len(rest) > 0 || said.Len() > 0 {
		t.Errorf("something was said: %q %q %v", rest, &said, err)
	}

	spools, _ := filepath.Glob(filepath.Join(w.dir, "cache", "wal", "spool", "main.0.*"))
	if len(spools) != 1 {
		t.Fatalf("spools: %v", spools)
	}
	held := func() (names []string) {
		files, _ := filepath.Glob(filepath.Join(spools[0], "????????????????????????.????????????????.*"))
		for _, f := range files {
			names = append(names, filepath.Base(f)[:24])
		}
		return names
	}
	full := func(from int) func() bool {
		return func() bool { return strings.Join(held(), " ") == strings.Join(segments[from:from+3], " ") }
	}
	w.await("three segments are there", full(1))

	ahead := pgtest.Processes("\x00prefetch\x00", w.dir)
	if len(ahead) != 1 {
		t.Fatalf("%d processes fetch ahead", len(ahead))
	}
	pid := ahead[0].PID
	proc := fmt.Sprintf("/proc/%d/", pid)
	if dir, err := os.Readlink(proc + "cwd"); err != nil || dir != "/" {
		t.Errorf("its working directory is %s (%v)", dir, err)
	}
	for fd := range 3 {
		if to, err := os.Readlink(proc + "fd/" + strconv.Itoa(fd)); err != nil || to != os.DevNull {
			t.Errorf("its descriptor %d is %s (%v)", fd, to, err)
		}
	}
	stat, err := os.ReadFile(proc + "stat")
	w.must(err)
	_, after, _ := strings.Cut(string(stat), ") ")
	if f := strings.Fields(after); f[2] != strconv.Itoa(pid) || f[3] != strconv.Itoa(pid) {
		t.Errorf("process %d is in group %s and session %s", pid, f[2], f[3])
	}

	// What is there does not need the repository, and is what was archived.
	back := w.hide(w.repository())
	if code, text := fetch(segments[1]); code != "0" || text != "" {
		t.Errorf("the next segment ended with %s: %s", code, text)
	}
	w.must(os.Remove(filepath.Join(c.Data, dest)))
	if code, _ := fetch(segments[8]); code != "200" {
		t.Errorf("one that is not there ended with %s", code)
	}
	if _, err := os.Lstat(filepath.Join(c.Data, dest)); err == nil {
		t.Error("and left something")
	}
	back()

	// Damaged in the spool, it is fetched from the repository.
	spoiled, _ := filepath.Glob(filepath.Join(spools[0], segments[2]+".*"))
	if len(spoiled) != 1 {
		t.Fatalf("%s in the spool: %v", segments[2], spoiled)
	}
	w.damage(spoiled[0])
	if code, text := fetch(segments[2]); code != "0" || text != "" {
		t.Errorf("a segment that is damaged in the spool: %s: %s", code, text)
	}
	whole, err := os.ReadFile(filepath.Join(c.Data, dest))
	w.must(err)
	direct := w.command("wal", "fetch", "--cluster", "main", segments[2], filepath.Join(w.dir, "direct"))
	if code, text := w.ends(direct); code != "0" {
		t.Fatal(text)
	}
	if want, err := os.ReadFile(filepath.Join(w.dir, "direct")); err != nil || !bytes.Equal(whole, want) {
		t.Errorf("it came with other bytes (%v)", err)
	}
	w.await("the window moves on", full(3))

	// The recovery ends.
	w.must(os.Remove(filepath.Join(c.Data, "recovery.signal")))
	w.await("the process ends", func() bool { return syscall.Kill(pid, 0) != nil })
	if _, err := os.Stat(spools[0]); err == nil {
		t.Errorf("it left its spool: %v", held())
	}
}

// TestByHand: what an administrator types.
func TestByHand(t *testing.T) {
	t.Parallel()
	w, c := pastWorld(t)
	segments := history().segments
	for _, test := range []struct {
		name, want string
		args       []string
		says       string
	}{
		{"whole path", "0", []string{segments[0], w.dir + "/a"}, ""},
		{"again", "0", []string{segments[0], w.dir + "/a"}, ""},
		{"absent", "1", []string{"0000000100000000000000F0", w.dir + "/b"}, ""},
		{"no such timeline", "1", []string{"00000009.history", w.dir + "/b"}, ""},
		{"no directory", "200", []string{segments[0], w.dir + "/no/such"}, "no such file or directory"},
		{"a directory", "200", []string{segments[0], w.dir}, "no regular file"},
		{"no name", "200", []string{"pg_wal/" + segments[0], w.dir + "/b"}, "hint: "},
		{"one argument", "200", []string{segments[0]}, "hint: "},
		{"spool in the data directory", "200", []string{"--spool-dir", c.Data + "/pg_wal/spool", segments[0], c.Data + "/pg_wal/x"}, "is inside the server's"},
		{"bad size", "200", []string{"--prefetch", "much", segments[0], w.dir + "/b"}, "--prefetch"},
		{"unknown content id", "200", []string{"--content", "x", segments[0], w.dir + "/b"}, "content id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := w.command(append([]string{"wal", "fetch", "--cluster", "main", "--patience", "0s"}, test.args...)...)
			code, said := w.ends(cmd)
			if code != test.want || !strings.Contains(said, test.says) || (test.says == "") != (said == "") || strings.Count(said, "\n") > 2 {
				t.Errorf("ended with %s, want %s:\n%s", code, test.want, said)
			}
		})
	}
	if left, _ := filepath.Glob(w.dir + "/*gpdedup*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(w.dir + "/b"); err == nil {
		t.Error("a failure made the file")
	}
}

// TestGuardWaits: for a segment that is just being fetched ahead the guard itself waits,
// without a child, and a signal ends it as it would end that.
func TestGuardWaits(t *testing.T) {
	t.Parallel()
	w, c := pastWorld(t)
	pretend(w, c)
	segments := history().segments
	dest := filepath.Join("pg_wal", "RECOVERYXLOG")
	fetch := func(file string) *exec.Cmd {
		cmd := w.command("wal", "fetch", "--cluster", "main", "--prefetch", "3MiB", file, dest)
		cmd.Dir = c.Data
		return cmd
	}
	if code, text := w.ends(fetch(segments[0])); code != "0" {
		t.Fatalf("%s: %s", code, text)
	}
	spool := ""
	w.await("a process fetches ahead", func() bool {
		found, _ := filepath.Glob(filepath.Join(w.dir, "cache", "wal", "spool", "main.0.*", segments[3]+".*.*.*"))
		if len(found) == 1 {
			spool = filepath.Dir(found[0])
		}
		return spool != ""
	})
	// What is there is handed over before what takes long is made ready.
	early := fetch(segments[1])
	early.Env = append(early.Env, "GODEBUG=inittrace=1")
	if code, text := w.ends(early); code != "0" || !strings.Contains(text, "init runtime ") || strings.Contains(text, "minio") {
		t.Errorf("a call for a file that was fetched: ends with %s: %s", code, text)
	}
	worked := func(file string) bool { return len(pgtest.Processes("gpdedup-wal-fetch\x00", file, w.dir)) > 0 }
	// As if that one were on its way, and the storage took its time.
	w.must(os.WriteFile(filepath.Join(spool, segments[8]+".part"), nil, 0o600))
	w.must(os.Remove(filepath.Join(c.Data, dest)))
	cmd := fetch(segments[8])
	w.must(cmd.Start())
	w.await("it is the guard", func() bool { // which may not be looked at
		info, err := os.Stat(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		w.must(err)
		st, ok := info.Sys().(*syscall.Stat_t)
		return ok && st.Uid == 0
	})
	w.run("wal", "list", "--cluster", "main") // in which time a child would have started
	if worked(segments[8]) {
		t.Error("there is a child")
	}
	w.must(cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait() // its state tells
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
	if _, err := os.Lstat(filepath.Join(c.Data, dest)); err == nil {
		t.Error("and left something")
	}
	// What cannot be had from the spool, because nobody fetches it, comes from the archive.
	w.must(os.Remove(filepath.Join(spool, segments[8]+".part")))
	if code, text := w.ends(fetch(segments[8])); code != "0" || text != "" {
		t.Errorf("%s: %s", code, text)
	}
	w.must(os.Remove(filepath.Join(c.Data, "recovery.signal"))) // so that the process ends
}
