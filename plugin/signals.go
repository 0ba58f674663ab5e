package plugin

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var errInterrupted = errors.New("interrupted by a signal")

// signals watches for the ones that end a process.
type signals struct {
	got     atomic.Int32
	settled chan struct{} // answers settle
}

// signalGrace is how long after a signal a process may still clear away what it
// was at. What hangs in a dead file system must not keep it alive.
const signalGrace = 5 * time.Second

// endings says how a command takes a signal that asks it to end.
type endings struct {
	// heedIgnored: even one that was inherited as ignored. The server's backends
	// ignore some, and a stream that goes on past a cancel ends with a clean end of
	// file that proves nothing. Elsewhere an ignored SIGHUP is the user's nohup.
	heedIgnored bool
	// atOnce: there is nothing to clear away, and a write to a full pipe that
	// nobody reads would not end otherwise.
	atOnce bool
}

// watchSignals cancels when the first signal comes.
func watchSignals(cancel context.CancelCauseFunc, how endings) *signals {
	s := &signals{settled: make(chan struct{}, 1)}
	c := make(chan os.Signal, 8)
	signal.Notify(c, markSignal)
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP} {
		if how.heedIgnored || !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
	// A broken pipe is an error of the write then, on standard error too, where it
	// must not replace the exit code.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	go func() {
		sig := s.next(c)
		s.got.Store(int32(sig))
		if how.atOnce {
			DieBy(sig)
		}
		cancel(errInterrupted)
		time.AfterFunc(signalGrace, func() { DieBy(sig) })
		s.next(c) // asked twice
		DieBy(sig)
	}()
	return s
}

// next returns the next signal that is not a mark.
func (s *signals) next(c <-chan os.Signal) syscall.Signal {
	for {
		sig, ok := (<-c).(syscall.Signal)
		if ok && sig != markSignal {
			return sig
		}
		select {
		case s.settled <- struct{}{}:
		default:
		}
	}
}

// markSignal means nothing to us. Its number is higher than those of the signals
// that end a process, so of all that are pending the kernel delivers it last, and
// so does Go.
const markSignal = unix.SIGWINCH

// settle returns when every signal that was sent before has been taken note of. One
// may still be on its way through kernel and runtime on a busy host while the end of
// the stream, which came after it, has long arrived.
func (s *signals) settle() {
	select {
	case <-s.settled: // of a terminal that changed its size
	default:
	}
	sendMark(s.settled)
}

// sendMark sends the mark to this process and waits until it arrives at c.
func sendMark[T any](c <-chan T) {
	if unix.Kill(unix.Getpid(), markSignal) != nil {
		return
	}
	select {
	case <-c:
	case <-time.After(signalGrace): // never seen; and then there is the flag
	}
}

// AwaitSignals returns when every signal that was sent to the process before has been
// handed to whoever asked os/signal for it.
func AwaitSignals() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, markSignal)
	defer signal.Stop(c)
	sendMark(c)
}

// signal returns the one that came, or 0.
func (s *signals) signal() syscall.Signal { return syscall.Signal(s.got.Load()) }

// DieBy ends the process the way the signal would have, so that a shell, and the
// server behind it, can see that.
func DieBy(sig syscall.Signal) {
	// SIGQUIT would write a core file into the working directory, which is a
	// database's.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // then with a core file
	// signal.Reset would bring back Go's own handler, which prints a stack trace,
	// or an inherited "ignore". All bytes zero is SIG_DFL without flags, in the
	// layout of every architecture.
	var fallback [16]uint64
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&fallback)), 0, 8, 0, 0)
	if errno == 0 {
		// Sent to this very thread, it is delivered before the call returns.
		runtime.LockOSThread()
		_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), sig) // if not, there is the exit
	}
	// Still here: process 1 of a container is not killed by its own signals.
	os.Exit(128 + int(sig))
}
