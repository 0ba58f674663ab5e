package plugin

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

var hookNames = []string{
	"setup_plugin_for_backup", "setup_plugin_for_restore", "cleanup_plugin_for_backup", "cleanup_plugin_for_restore",
}

// TestHooks: every scope and form of the content id, in any order, again and again.
func TestHooks(t *testing.T) {
	w := newWorld(t)
	for _, hook := range hookNames {
		for _, rest := range []string{
			`segment "0"`, `master "-1"`, `coordinator "-1"`, "master -1", "segment 0", "master", "coordinator", "segment", "segment_host", `segment_host "2"`,
		} {
			if out := w.good(nil, append([]string{hook, w.config, w.backupDir(ts)}, strings.Fields(rest)...)...); out != "" {
				t.Errorf("%s %s printed %q", hook, rest, out)
			}
		}
	}
	if _, err := os.Stat(w.dir + "/seg0"); err == nil {
		t.Error("a hook made the backup's directory")
	}
	// One for each segment of a host, and no cache directory to be had.
	w.configure("cache_dir: /dev/null/cache")
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for _, hook := range hookNames {
				w.good(nil, hook, w.config, w.backupDir(ts), "segment_host")
				w.good(nil, hook, w.config, w.backupDir(ts), "segment", fmt.Sprintf(`"%d"`, i))
			}
		})
	}
	wait.Wait()
}

// TestHookLeavesNothingOpen: what setup_plugin_for_backup leaves behind holds none
// of the descriptors that the hook got, however long it lives.
func TestHookLeavesNothingOpen(t *testing.T) {
	w := newWorld(t)
	config, err := os.ReadFile(w.config)
	w.must(err)
	// The configuration comes from a FIFO, so the child begins when we want it to.
	fifo := filepath.Join(w.dir, "fifo")
	w.must(unix.Mkfifo(fifo, 0o600))
	give := func() {
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the reader
		w.must(err)
		_, err = f.Write(config)
		w.must(err)
		w.must(f.Close())
	}
	marker, err := os.Create(filepath.Join(w.dir, "inherited"))
	w.must(err)
	defer marker.Close()
	out, outEnd, err := os.Pipe()
	w.must(err)
	cmd := w.command("setup_plugin_for_backup", fifo, w.backupDir(ts), "segment_host")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = outEnd, outEnd, outEnd
	for range 100 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, marker)
	}
	w.must(cmd.Start())
	w.must(outEnd.Close())
	give()
	// The end of the pipe must come while the child is still waiting for its
	// configuration.
	said, err := io.ReadAll(out)
	w.must(err)
	w.must(cmd.Wait())
	if len(said) != 0 {
		t.Errorf("the hook said %q", said)
	}
	child := w.childOf(fifo)
	if cwd, err := os.Readlink(child + "/cwd"); err != nil || cwd != "/" {
		t.Errorf("the child is in %s, %v", cwd, err)
	}
	fds, err := os.ReadDir(child + "/fd")
	w.must(err)
	for _, fd := range fds {
		to, err := os.Readlink(child + "/fd/" + fd.Name())
		w.must(err)
		if to == marker.Name() || strings.HasPrefix(to, "pipe:") || len(fd.Name()) == 1 && fd.Name() <= "2" && to != "/dev/null" {
			t.Errorf("the child has %s as %s", to, fd.Name())
		}
	}
	stat, err := os.ReadFile(child + "/stat")
	w.must(err)
	// After the name in parentheses: state, parent, process group, session.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if pid := filepath.Base(child); fields[2] != pid || fields[3] != pid {
		t.Errorf("the child %s is in process group %s, session %s", pid, fields[2], fields[3])
	}
	give() // and lets the child end
}

// childOf returns the directory in /proc of the process that was started to refresh
// the index with that configuration.
func (w *world) childOf(config string) string {
	w.t.Helper()
	for _, dir := range refreshing(config) {
		return dir
	}
	w.t.Fatal("there is no child that refreshes the index")
	return ""
}

// refreshing returns the directories in /proc of the processes that refresh an index
// with a configuration whose path begins like that.
func refreshing(config string) []string {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is fine
	var dirs []string
	for _, path := range lines {
		line, _ := os.ReadFile(path) // it may have ended
		if strings.Contains(string(line), "\x00"+refreshCommand+"\x00"+config) {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return dirs
}

// awaitChildren waits until what the hooks left behind has ended.
func (w *world) awaitChildren() {
	w.t.Helper()
	for _, dir := range refreshing(w.dir) {
		pid, err := strconv.Atoi(filepath.Base(dir))
		w.must(err)
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		w.must(err)
		for {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		w.must(errors.Join(err, unix.Close(fd)))
	}
}

func TestRefreshIndexCommand(t *testing.T) {
	w := newWorld(t)
	noise := make([]byte, 9<<20) // more than a small pack, which would be in no fragment
	_, _ = rand.Read(noise)
	w.good(noise, "backup_data", w.config, w.path("1"))
	w.good(nil, refreshCommand, w.config)
	if files, err := filepath.Glob(w.cache + "/*/index-*.db"); err != nil || len(files) == 0 {
		t.Errorf("no index in the cache: %v, %v", files, err)
	}
	w.configure("cache_dir: /dev/null/cache")
	w.run(nil, refreshCommand, w.config)
}

// TestServersChild runs a round trip the way a server's backend does: niced, with a
// hundred descriptors that are none of our business.
func TestServersChild(t *testing.T) {
	w := newWorld(t)
	data := rows(1, 3<<20)
	run := func(in []byte, args ...string) result {
		t.Helper()
		cmd := exec.Command("sh", append([]string{"-c", `umask 077; exec nice -n 19 "$0" "$@"`, executable}, args...)...)
		cmd.Dir, cmd.Env = w.pgdata, append(w.env, "GP_DATABASE=sales", "GP_SEGMENT_ID=0")
		for range 100 {
			f, err := os.Open(w.config)
			w.must(err)
			defer f.Close()
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
		return finish(t, cmd, in)
	}
	if r := run(data, "backup_data", w.config, w.path("1")); r.code != 0 || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	if r := run(nil, "restore_data", w.config, w.path("1")); r.code != 0 || r.stderr != "" || r.stdout != string(data) {
		t.Errorf("exit %d, %d bytes, stderr %q", r.code, len(r.stdout), r.stderr)
	}
}

// TestNoPlaceToLog: a log that cannot be written is none.
func TestNoPlaceToLog(t *testing.T) {
	w := newWorld(t)
	w.log = "/dev/null/log"
	w.configure()
	w.good([]byte("x"), "backup_data", w.config, w.path("1"))
	w.log = `""`
	w.configure()
	w.must(os.MkdirAll(w.dir+"/gpAdminLogs", 0o755))
	w.env = append(w.env, "HOME="+w.dir)
	w.good([]byte("x"), "backup_data", w.config, w.path("2"))
	if logs, err := filepath.Glob(w.dir + "/gpAdminLogs/gpdedup_[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].log"); err != nil || len(logs) != 1 {
		t.Errorf("logs %v, %v", logs, err)
	}
}
