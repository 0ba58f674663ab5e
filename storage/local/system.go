package local

import (
	"errors"

	"golang.org/x/sys/unix"
)

// system is what the store asks of the operating system. Names are relative to
// the open directory dir. Tests put themselves in between, to break one call at a
// time and to check the order of the calls.
type system interface {
	open(dir int, name string, flags int, mode uint32) (int, error)
	close(fd int) error
	chmod(fd int, mode uint32) error
	write(fd int, p []byte) (int, error)
	pread(fd int, p []byte, offset int64) (int, error)
	stat(path string) (*unix.Stat_t, error) // the one that takes a path of its own
	fstat(fd int) (*unix.Stat_t, error)
	lstat(dir int, name string) (*unix.Stat_t, error)
	sync(fd int) error // returns when data and metadata are on stable storage
	link(dir int, from, to string) error
	rename(dir int, from, to string) error // fails with EEXIST instead of replacing
	unlink(dir int, name string) error
	mkdir(dir int, name string, mode uint32) error
	chmodDir(dir int, name string, mode uint32) error
}

// unixSystem is the operating system. A call that a signal interrupted is made
// again: Go's own preemption signals reach calls that network file systems make
// interruptible. close is the exception: the descriptor is gone either way.
type unixSystem struct{}

func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (unixSystem) open(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

func (unixSystem) close(fd int) error {
	if err := unix.Close(fd); !errors.Is(err, unix.EINTR) {
		return err
	}
	return nil
}

func (unixSystem) chmod(fd int, mode uint32) error {
	return again(func() error { return unix.Fchmod(fd, mode) })
}

func (unixSystem) write(fd int, p []byte) (n int, err error) {
	err = again(func() error {
		n, err = unix.Write(fd, p)
		return err
	})
	return n, err
}

func (unixSystem) pread(fd int, p []byte, offset int64) (n int, err error) {
	err = again(func() error {
		n, err = unix.Pread(fd, p, offset)
		return err
	})
	return n, err
}

func (unixSystem) stat(path string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	return &st, again(func() error { return unix.Stat(path, &st) })
}

func (unixSystem) fstat(fd int) (*unix.Stat_t, error) {
	var st unix.Stat_t
	return &st, again(func() error { return unix.Fstat(fd, &st) })
}

func (unixSystem) lstat(dir int, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	return &st, again(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
}

func (unixSystem) sync(fd int) error {
	return again(func() error { return fullSync(fd) })
}

func (unixSystem) link(dir int, from, to string) error {
	return again(func() error { return unix.Linkat(dir, from, dir, to, 0) })
}

func (unixSystem) rename(dir int, from, to string) error {
	return again(func() error { return renameNoReplace(dir, from, to) })
}

func (unixSystem) unlink(dir int, name string) error {
	return again(func() error { return unix.Unlinkat(dir, name, 0) })
}

func (unixSystem) mkdir(dir int, name string, mode uint32) error {
	return again(func() error { return unix.Mkdirat(dir, name, mode) })
}

func (unixSystem) chmodDir(dir int, name string, mode uint32) error {
	return again(func() error { return unix.Fchmodat(dir, name, mode, 0) })
}
