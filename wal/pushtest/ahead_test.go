package pushtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// backlog returns the data directory of a server that stopped before it had archived its
// segments, with their names. It is done with more than a push goes ahead.
func (w *world) backlog() (*pgtest.Cluster, []string) {
	w.Helper()
	const segments = 80
	c := host.NewCluster(w, pgtest.Options{Settings: []string{"archive_mode = on", "archive_command = 'false'"}})
	c.Start(w)
	for range segments - 1 {
		c.SQL(w, "SELECT pg_logical_emit_message(false, 'x', 'x'), pg_switch_wal()")
	}
	c.SwitchWAL(w)
	c.Stop(w, "immediate")
	ready, err := filepath.Glob(filepath.Join(c.Data, "pg_wal", "archive_status", "*.ready"))
	w.must(err)
	var files []string
	for _, r := range ready {
		files = append(files, filepath.Base(r)[:24])
	}
	if len(files) < segments {
		w.Fatalf("%d files are ready", len(files))
	}
	return c, files
}

// archive pushes the file as the server does, and notes that as it does.
func (w *world) archive(c *pgtest.Cluster, file string) {
	w.Helper()
	if code, _, said := ends(w.push(c, file)); code != "0" || said != "" {
		w.Fatalf("%s: ends with %s: %s", file, code, said)
	}
	status := filepath.Join(c.Data, "pg_wal", "archive_status", file)
	w.must(os.Rename(status+".ready", status+".done"))
}

// records returns how many files were pushed that the server has not asked for.
func (w *world) records() int {
	files, _ := filepath.Glob(filepath.Join(w.cache, "wal", "pushed", "*", "????????????????????????"))
	return len(files)
}

// beside returns the processes that push ahead.
func (w *world) beside() []pgtest.Process { return pgtest.Processes("\x00push-ahead\x00", w.dir) }

// answeredEarly runs one of ours, which must succeed, and reports whether it did so before what takes
// long was made ready.
func answeredEarly(cmd *exec.Cmd) bool {
	cmd.Env = append(cmd.Env, "GODEBUG=inittrace=1")
	code, _, said := ends(cmd)
	return code == "0" && strings.Contains(said, "init runtime ") && !strings.Contains(said, "minio")
}

// TestPushAhead: a call returns when its own file is there, and one process goes on beside
// the server, not further ahead of it than it may, until it is killed, or the server asks for no
// more. Whatever becomes of it, each file gets into the archive.
func TestPushAhead(t *testing.T) {
	t.Parallel()
	const most = 64
	w := newWorld(t)
	c, files := w.backlog()
	w.archive(c, files[0])
	w.await("as much is pushed as may be", func() bool { return w.records() == most })
	ahead := w.beside()
	if len(ahead) != 1 {
		t.Fatalf("processes: %v", ahead)
	}
	if !answeredEarly(w.push(c, files[1])) {
		t.Error("a call for a file that was pushed is not answered early")
	}
	w.archive(c, files[1])
	w.await("the next one is pushed", func() bool { return w.records() == most })
	w.must(syscall.Kill(ahead[0].PID, syscall.SIGKILL))
	w.gone(ahead[0].PID)
	for _, file := range files[2:10] { // of which there are records, so that no other is started
		w.archive(c, file)
	}
	if ahead := w.beside(); len(ahead) > 0 || w.records() != most-8 {
		t.Errorf("after it was killed: %v, %d records", ahead, w.records())
	}
	for _, file := range files[10 : 2+most] {
		w.archive(c, file)
	}
	w.archive(c, files[2+most]) // of which there is none: so one is started, for as long as it is of use
	w.await("all is pushed", func() bool { return w.records() == len(files)-most-3 })
	w.await("it ends", func() bool { return len(w.beside()) == 0 })
	for _, file := range files[3+most:] {
		w.archive(c, file)
	}
	if n := w.records(); n > 0 {
		t.Errorf("%d records are left", n)
	}
	w.whole()
}

// TestPushAheadEnds: it soon ends when the server does not ask for the next file; files that were
// changed since, or that the server does not want archived any more, are not taken for pushed.
func TestPushAheadEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.backlog()
	w.archive(c, files[0])
	w.await("much is pushed", func() bool { return w.records() == 64 })
	w.await("it ends", func() bool { return len(w.beside()) == 0 })
	data, err := os.ReadFile(path(c, files[1]))
	w.must(err)
	data[len(data)-1] ^= 1
	w.must(os.WriteFile(path(c, files[1]), data, 0o600))
	if code, _, said := ends(w.push(c, files[1])); code != "3" {
		t.Errorf("a file that changed since it was pushed: ends with %s: %s", code, said)
	}
}

// TestImmediateShutdownAhead: a server that is stopped at once takes the process with it that
// pushes ahead of it; when it is back, all is archived.
func TestImmediateShutdownAhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.backlog()
	// The server asks for one file and then for no more, so that the process waits for it.
	asked := filepath.Join(w.dir, "asked")
	command := w.archiving()[1]
	once := "archive_command = '[ ! -e " + asked + " ] && touch " + asked + " && " + command[len("archive_command = '"):]
	c.Configure(t, once)
	c.Start(t)
	var ahead []pgtest.Process
	w.await("files are pushed ahead", func() bool {
		ahead = w.beside()
		return len(ahead) == 1 && w.records() > 8
	})
	c.Stop(t, "immediate")
	w.gone(ahead[0].PID)
	c.Configure(t, command)
	c.Start(t)
	c.Archived(t, files[len(files)-1])
	w.whole()
}

// TestFirstProcess: where the server is the first process of its container, nothing is left
// behind, because the server would become its parent.
func TestFirstProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.backlog()
	pidFile := filepath.Join(c.Data, "postmaster.pid")
	w.must(os.WriteFile(pidFile, []byte("1\n"), 0o600))
	w.must(host.Give(pidFile))
	w.archive(c, files[0])
	if ahead, n := w.beside(), w.records(); len(ahead) > 0 || n != 64 {
		t.Errorf("%v beside it, %d files pushed ahead", ahead, n)
	}
	w.must(os.Remove(pidFile))
	w.whole()
}

// TestOrphans: what is left behind ends with 0, whatever happens to it.
func TestOrphans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.backlog()
	orphan := func(args ...string) *exec.Cmd {
		cmd := w.command(args...)
		cmd.Dir = c.Data
		cmd.Args[0] = "gpdedup-beside"
		return cmd
	}
	segment := filepath.Join("pg_wal", files[0])
	for _, cmd := range []*exec.Cmd{
		orphan("wal", "push-ahead", "nonsense"),
		orphan("wal", "push-ahead", "--nonsense", segment),
		orphan("wal", "prefetch", files[0], "pg_wal/RECOVERYXLOG", "--repo", "/nonexistent"),
	} {
		if code, out, said := ends(cmd); code != "0" || out != "" {
			t.Errorf("%v: ends with %s: %s%s", cmd.Args, code, out, said)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		hanging := w.hang()
		cmd := orphan("wal", "push-ahead", segment)
		cmd.Args = append(cmd.Args, "--key-file", hanging)
		pipe, err := cmd.StdinPipe() // by which it is told nothing yet
		w.must(err)
		w.must(cmd.Start())
		end := w.opens(hanging)
		w.must(cmd.Process.Signal(sig))
		if got := outcome(cmd, cmd.Wait()); got != "0" {
			t.Errorf("%s: ends with %s", sig, got)
		}
		end()
		_ = pipe.Close() // Wait did
		w.must(os.Remove(hanging))
	}
}
