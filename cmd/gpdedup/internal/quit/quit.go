// Package quit has a SIGQUIT that comes before the program can catch signals end it by that signal.
//
// The handler of Go's runtime, which is there before any package is made ready, prints stack traces and ends with 2.
// A server that is stopped at once sends SIGQUIT to its restore_command, and takes a status of 2 for
// the end of the WAL: it would begin a timeline of its own in the middle of a recovery. A shell between the two ends
// by the signal itself, but many shells put the command in their own place.
//
// This package needs only what makes system calls, and so has its turn before nearly all others.
package quit

import (
	"syscall"
	"unsafe"
)

// action is struct sigaction, and more than large enough for that on every architecture. All zero
// is the default action, without flags.
type action [16]uint64

// The state that init finds, which Restore brings back: it is the process's, and there is no earlier moment
// at which somebody could keep it.
var (
	before   action
	dumpable bool
)

func init() {
	// The default action would write a core file into the working directory, which is a database's.
	if now, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_DUMPABLE, 0, 0); errno == 0 && now == 1 {
		_, _, errno = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0)
		dumpable = errno == 0
	}
	set(&action{}, &before)
}

// Restore gives SIGQUIT back to Go's runtime. It is to be called as soon as somebody is told of the signal.
func Restore() {
	set(&before, nil)
	if dumpable {
		_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 1, 0)
	}
}

func set(a, old *action) {
	const maskBytes = 8
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGQUIT), uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(old)), maskBytes, 0, 0)
}
