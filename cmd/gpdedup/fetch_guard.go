package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/early"
	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/quit"
	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/wal"
)

// A server in recovery takes whatever restore_command ends with, up to 125, for the end
// of the WAL: it begins a timeline of its own there, and what comes after is lost. So
// the work of wal fetch is done in a child, and this process, which does next to
// nothing that could go wrong, makes sure that only what the child says in so many
// words ends with 0 or 1. A panic, a fatal error of the runtime, a child that was
// killed, even a stray os.Exit, end with 204. Only a file that lies in the spool already
// is handed over without a child (fetch_spool.go).

// What the child ends with instead of 0 and 1. Other statuses are those of wal.FetchExit.
const (
	workerDone  = 10
	workerEnded = 11 // the file is proved absent
)

// workerStderr is the child's descriptor of standard error.
const workerStderr = 3

// isFetch reports whether the command line is one of wal fetch, even if it is wrong. It
// goes by the words alone, because reading a command line may fail.
func isFetch(args []string) bool {
	group := slices.Index(args, "wal")
	if group < 0 || slices.ContainsFunc(args, func(a string) bool { return a == "help" || a == "--help" || a == "-h" }) {
		return false
	}
	for _, word := range args[group+1:] {
		switch word {
		case "fetch":
			return true
		case "push", "list", "verify", "check", "cleanup", "restore-point", prefetchCommand, pushAheadCommand:
			return false // its arguments may be called anything
		}
	}
	return false
}

// usageExit is what wrong usage ends with. The server does not know whether it was
// wal fetch that was misspelt: a command that it runs while it recovers must not end
// with a status that means the end of the WAL to it.
func usageExit() int {
	if dir, err := os.Getwd(); err == nil && wal.DataDir(dir).EndsWithTheArchive() {
		return wal.ExitUndecided
	}
	return plugin.ExitUsage
}

// runFetchWorker is the child: it performs the command and returns what to end with.
func runFetchWorker(args []string) (code int) {
	// What the runtime of Go writes when it fails goes to the guard's file.
	os.Stderr = os.NewFile(workerStderr, "stderr")
	// It ends before it has made much garbage.
	debug.SetGCPercent(400)
	defer func() {
		if r := recover(); r != nil {
			plugin.Report(os.Stderr, fmt.Errorf("wal fetch: internal error: %v", r))
			code = wal.ExitBroken
		}
	}()
	signals := catchSignals(context.Background())
	signals.Quiet()
	err := runCommand(signals, args)
	if err == nil {
		return workerDone
	}
	signals.DieIfAsked()
	code = wal.FetchExit(err)
	if code == 1 {
		return workerEnded // and nothing is said: to a server that is no failure
	}
	plugin.Report(os.Stderr, err)
	return code
}

// guardFetch performs wal fetch in a child and returns what to end with. If a signal
// ended it, it does not return.
func guardFetch(args []string) int {
	debug.SetGCPercent(-1)
	// Nothing goes wrong here; but if it did, by a fatal error of the runtime, the
	// process would end with 2. So it is a signal instead, and no core file, and what
	// the runtime writes goes where nobody reads it.
	stderr := takeStderr()
	debug.SetTraceback("crash")

	incoming := make(chan os.Signal, 4)
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP} {
		if !signal.Ignored(sig) {
			signal.Notify(incoming, sig)
		}
	}
	quit.Restore()
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)     // no core file of a fatal error
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // nobody may read the log any more
	if servedFromSpool(args, incoming) {
		return 0
	}
	said := lastWords()
	failed := func(err error) int {
		if line := firstLine(said); line != "" {
			err = fmt.Errorf("%w: %s", err, line)
		}
		plugin.Report(stderr, fmt.Errorf("wal fetch: the program itself failed: %w", err))
		return afterAll(args, wal.ExitBroken)
	}
	// The child is to be killed with the thread that started it.
	runtime.LockOSThread()
	child, err := os.StartProcess("/proc/self/exe", append([]string{early.FetchWorker}, args...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, said, workerStderr: stderr},
		Sys:   &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return failed(err)
	}
	asked := make(chan syscall.Signal, 1)
	go func() {
		sig, _ := (<-incoming).(syscall.Signal)
		asked <- sig
		_ = child.Signal(sig) // it may have ended, or got it too
		select {
		case <-incoming: // asked twice
		case <-time.After(grace):
		}
		_ = child.Kill()
		plugin.DieBy(sig)
	}()
	state, err := child.Wait()
	select {
	case sig := <-asked:
		plugin.DieBy(sig)
	default:
	}
	if err != nil {
		return failed(err)
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		switch sig := status.Signal(); sig {
		case unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP:
			plugin.DieBy(sig)
		}
		return failed(fmt.Errorf("it was killed by signal %d (%v)", int(status.Signal()), status.Signal()))
	case status.ExitStatus() == workerDone:
		return 0
	case status.ExitStatus() == workerEnded:
		return plugin.ExitFailed
	case status.ExitStatus() >= wal.ExitUndecided && status.ExitStatus() <= wal.ExitBroken:
		return afterAll(args, status.ExitStatus())
	}
	return failed(fmt.Errorf("it ended with status %d", status.ExitStatus()))
}

// afterAll returns what a failure ends with: for a standby 1, because that asks again,
// and would be shut down by anything else.
func afterAll(args []string, code int) int {
	if slices.ContainsFunc(args, func(arg string) bool {
		return !strings.HasPrefix(arg, "-") && wal.DataDirOf(arg).Standby()
	}) {
		return plugin.ExitFailed
	}
	return code
}

// lastWords returns a file for what the runtime of Go says of a fatal error, which is
// pages of stack traces: only the first line of it is for a server's log.
func lastWords() *os.File {
	if fd, err := unix.MemfdCreate("said", unix.MFD_CLOEXEC); err == nil {
		return os.NewFile(uintptr(fd), "said")
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil // a closed descriptor; then nothing is said
	}
	return null
}

func firstLine(f *os.File) string {
	if f == nil {
		return ""
	}
	buf := make([]byte, 200)
	n, _ := f.ReadAt(buf, 0) // as much as there is
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	return strings.TrimSpace(line)
}

// takeStderr returns standard error under another number, and puts nothing in its
// place.
func takeStderr() *os.File {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return os.Stderr
	}
	fd, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if errors.Is(err, unix.EBADF) {
		return null // it is closed
	}
	if err == nil {
		err = unix.Dup3(int(null.Fd()), 2, 0)
	}
	if err != nil {
		return os.Stderr
	}
	return os.NewFile(uintptr(fd), "stderr")
}
