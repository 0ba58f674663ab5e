package plugin

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/repo"
)

// more is more than a pipe holds: when it is written, most of it has been read.
const more = 4 << 20

// started is a process with its standard input in our hands.
type started struct {
	*exec.Cmd
	in   *os.File
	said *bytes.Buffer
}

// write writes what fits into a pipe and waits until the process has read it.
func (s *started) write(t *testing.T, data []byte) {
	t.Helper()
	if _, err := s.in.Write(data); err != nil {
		t.Fatal(err)
	}
	for {
		switch left, err := unix.IoctlGetInt(int(s.in.Fd()), unix.TIOCINQ); {
		case err != nil:
			t.Fatal(err)
		case left == 0:
			return
		}
		runtime.Gosched()
	}
}

func (w *world) start(cmd *exec.Cmd) *started {
	w.t.Helper()
	cmd.Dir, cmd.Env = w.pgdata, w.env
	s := &started{Cmd: cmd, said: &bytes.Buffer{}}
	cmd.Stderr = s.said
	in, out, err := os.Pipe()
	w.must(err)
	s.in = out
	w.t.Cleanup(func() { _ = out.Close() }) // most have closed it
	cmd.Stdin = in
	w.must(cmd.Start())
	w.must(in.Close())
	return s
}

// nothingStored checks that no trace is left by which a stream could be restored.
func (w *world) nothingStored() {
	w.t.Helper()
	items, err := w.open().Items(context.Background(), repo.Backup, DefaultNamespace, ts)
	w.must(err)
	for _, item := range items {
		if item.Complete() {
			w.t.Errorf("%s is stored", item.Name)
		}
	}
}

// TestSignals: each ends backup_data by the signal itself, without a commit, in
// silence and at once, even if the end of the stream never comes.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP} {
		for _, trap := range []string{"", `trap "" INT HUP TERM QUIT; `} {
			t.Run(sig.String()+" "+strings.Trim(trap, "; "), func(t *testing.T) {
				w := newWorld(t)
				// In the middle of much, and of so little that nothing is done with
				// it before its end.
				for name, data := range map[string][]byte{"1": rows(1, more), "2.gz": rows(1, more), "3": rows(1, 10), "4.gz": rows(1, 10)} {
					s := w.start(exec.Command("sh", "-c", trap+`exec "$0" "$@"`, executable, "backup_data", w.config, w.path(name)))
					s.write(t, data)
					w.must(s.Process.Signal(sig))
					_ = s.Wait() // standard input stays open until here
					status := s.ProcessState.Sys().(syscall.WaitStatus)
					if !status.Signaled() || status.Signal() != sig || status.CoreDump() || s.said.Len() != 0 {
						t.Errorf("ended with %v, stderr %q", s.ProcessState, s.said)
					}
				}
				w.nothingStored()
				// It was not the last resort, which kills what does not end by itself.
				if log, err := os.ReadFile(w.log); err != nil || strings.Count(string(log), errInterrupted.Error()) != 4 {
					t.Errorf("log %q, %v", log, err)
				}
			})
		}
	}
}

// TestSignalThenEnd: the end of the stream that follows a signal commits nothing,
// however short the stream is.
func TestSignalThenEnd(t *testing.T) {
	w := newWorld(t)
	s := w.start(exec.Command(executable, "backup_data", w.config, w.path("1")))
	_, err := s.in.Write(rows(1, more))
	w.must(err)
	w.must(s.Process.Signal(unix.SIGTERM))
	w.must(s.in.Close())
	_ = s.Wait()
	if exitCode(s.Cmd) != 128+int(unix.SIGTERM) {
		t.Errorf("exit %d, stderr %q", exitCode(s.Cmd), s.said)
	}
	w.nothingStored()
}

// TestNohup: whoever ignores SIGHUP keeps files coming; only data is another matter.
func TestNohup(t *testing.T) {
	w := newWorld(t)
	file := w.path("fifo")
	w.must(os.MkdirAll(filepath.Dir(file), 0o755))
	w.must(unix.Mkfifo(file, 0o600))
	s := w.start(exec.Command("sh", "-c", `trap "" HUP; exec "$0" "$@"`, executable, "backup_file", w.config, file))
	out, err := os.OpenFile(file, os.O_WRONLY, 0)
	w.must(err)
	data := rows(1, more)
	_, err = out.Write(data)
	w.must(err)
	w.must(s.Process.Signal(unix.SIGHUP))
	w.must(out.Close())
	_ = s.Wait()
	if exitCode(s.Cmd) != 0 || s.said.Len() != 0 {
		t.Errorf("exit %d, stderr %q", exitCode(s.Cmd), s.said)
	}
	if got := w.good(nil, "restore_data", w.config, file); got != string(data) {
		t.Error("not what was stored")
	}
}

// TestSignalWhileRestoring: a restore that is blocked because nobody reads ends too.
func TestSignalWhileRestoring(t *testing.T) {
	w := newWorld(t)
	w.good(rows(1, 2*more), "backup_data", w.config, w.path("1"))
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP} {
		if signal.Ignored(sig) {
			continue // under nohup, say: then a restore heeds it no more than the test does
		}
		cmd := w.command("restore_data", w.config, w.path("1"))
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		w.must(err)
		w.must(cmd.Start())
		_, err = io.ReadFull(out, make([]byte, 1))
		w.must(err)
		w.must(cmd.Process.Signal(sig))
		state, err := cmd.Process.Wait() // before anything else is read
		w.must(err)
		status := state.Sys().(syscall.WaitStatus)
		_ = cmd.Wait()
		if !status.Signaled() || status.Signal() != sig || said.Len() != 0 {
			t.Errorf("%v: ended with %v, stderr %q", sig, state, said.String())
		}
	}
}

// TestParentGone: when whoever started backup_data has died, the end of the stream
// means nothing.
func TestParentGone(t *testing.T) {
	w := newWorld(t)
	fifo := filepath.Join(w.dir, "fifo")
	w.must(unix.Mkfifo(fifo, 0o600))
	shell := exec.Command("sh", "-c", `"$0" "$@" <"$FIFO" & wait`, executable, "backup_data", w.config, w.path("1"))
	shell.Dir, shell.Env = w.pgdata, append(w.env, "FIFO="+fifo)
	said, err := shell.StderrPipe()
	w.must(err)
	w.must(shell.Start())
	in, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	w.must(err)
	_, err = in.Write(rows(1, more))
	w.must(err)
	w.must(shell.Process.Kill())
	_, err = shell.Process.Wait()
	w.must(err)
	w.must(in.Close())
	text, err := io.ReadAll(said) // ends with the orphan
	w.must(err)
	if !strings.Contains(string(text), "is gone") {
		t.Errorf("it said %q", text)
	}
	_ = shell.Wait()
	w.nothingStored()
}
