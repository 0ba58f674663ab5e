package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/digest"
)

// claims keep two processes from packing the same file: whoever is about to push one claims its
// name first. A claim is a lock on one byte of a file, and ends with the process that has
// it. Claims are a matter of speed only; the zero value, which is that of a file system
// without such locks, has none.
type claims struct{ f *os.File }

// aheadClaim is the claim of the process that pushes ahead. Those of names are below it.
const aheadClaim = 1 << 62

// openClaims opens the claims in the file.
func openClaims(path string) claims {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return claims{}
	}
	c := claims{f}
	if _, err := c.lock(unix.F_OFD_SETLK, unix.F_RDLCK, aheadClaim+1); err != nil { // which all may have
		c.close()
		return claims{}
	}
	return c
}

// work reports whether there are claims.
func (c claims) work() bool { return c.f != nil }

// close ends all claims.
func (c claims) close() {
	if c.f != nil {
		_ = c.f.Close()
	}
}

// byteOf returns the byte that stands for a name. Two names that have the same one, which
// never happens, would wait for each other.
func byteOf(name Name) int64 {
	hash := digest.Sum([]byte(name.String()))
	return int64(binary.LittleEndian.Uint64(hash[:]) >> 2)
}

func (c claims) lock(command int, kind int16, at int64) (unix.Flock_t, error) {
	if c.f == nil {
		return unix.Flock_t{}, os.ErrInvalid
	}
	for {
		l := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: at, Len: 1}
		if err := unix.FcntlFlock(c.f.Fd(), command, &l); !errors.Is(err, unix.EINTR) {
			return l, err
		}
	}
}

// take claims what at stands for, unless somebody else has.
func (c claims) take(at int64) bool {
	_, err := c.lock(unix.F_OFD_SETLK, unix.F_WRLCK, at)
	return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES)
}

// giveBack ends a claim.
func (c claims) giveBack(at int64) { _, _ = c.lock(unix.F_OFD_SETLK, unix.F_UNLCK, at) }

// taken reports whether another process claims it.
func (c claims) taken(at int64) bool {
	l, err := c.lock(unix.F_OFD_GETLK, unix.F_WRLCK, at)
	return err == nil && l.Type != unix.F_UNLCK
}

// wait waits until nobody else claims it, but not longer than patience.
func (c claims) wait(ctx context.Context, at int64, patience time.Duration) {
	free := make(chan struct{})
	go func() {
		defer close(free)
		if _, err := c.lock(unix.F_OFD_SETLKW, unix.F_WRLCK, at); err == nil {
			c.giveBack(at)
		}
	}()
	select {
	case <-free:
	case <-time.After(patience):
	case <-ctx.Done():
	}
}
