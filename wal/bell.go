package wal

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/wal/quick"
)

// openBell opens the reading end of the bell.
func (s *Spool) openBell() (*os.File, error) {
	path := s.path(quick.BellFile)
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	// For writing too: else it would be at its end whenever nobody has it open for that.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// listen passes on that the bell was rung, until it is closed.
func listen(bell *os.File, rung chan<- struct{}) {
	buf := make([]byte, 64)
	for {
		if _, err := bell.Read(buf); err != nil {
			return
		}
		select {
		case rung <- struct{}{}:
		default:
		}
	}
}

// Ring wakes the process that fetches ahead, and reports whether there is one.
func (s *Spool) Ring() bool { return quick.Ring(s.dir) }

// lock takes the lock of the process that fetches ahead, if nobody has it.
func (s *Spool) lock() (*os.File, bool) {
	f, err := os.OpenFile(s.path(quick.LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false
	}
	for range 10 {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return f, true
		}
		time.Sleep(time.Millisecond) // it may only be being asked about
	}
	_ = f.Close()
	return nil, false
}
