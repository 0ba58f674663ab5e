package wal

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/repo"
)

// checkDest refuses a destination that cannot be meant.
func checkDest(dest string) error {
	info, err := os.Lstat(dest)
	if err == nil && !info.Mode().IsRegular() {
		return repo.WithHint(fmt.Errorf("%w: %s is there and is no regular file", repo.ErrUsage, dest), "restore_command gives %p, a file to be made")
	}
	if dest == "" || errors.Is(err, unix.ENOTDIR) {
		return repo.WithHint(fmt.Errorf("%w: %q cannot be made", repo.ErrUsage, dest), "restore_command gives %p, a file to be made")
	}
	return nil
}

// deliver makes a file with what write writes appear as dest, whole or not at all. It
// is written beside dest, on its file system, without a name where the system can do
// that: then a process that is killed leaves nothing in the server's pg_wal.
//
// durable asks for more than a server needs: it syncs what it was given before it relies
// on that, and until then asks for it again.
func deliver(dest string, durable bool, write func(io.Writer) error) error {
	dir := filepath.Dir(dest)
	f, err := unnamed(dir)
	temporary := ""
	if err != nil {
		if temporary, err = temporaryBeside(dest); err != nil {
			return fmt.Errorf("write %s: %w", dest, err)
		}
		if f, err = os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
			return fmt.Errorf("write %s: %w", dest, err)
		}
	}
	err = write(f)
	if err == nil && durable {
		err = f.Sync()
	}
	if err == nil && temporary == "" {
		temporary, err = nameIt(f, dest)
	}
	err = errors.Join(err, f.Close())
	if err == nil && temporary != "" {
		err = os.Rename(temporary, dest)
	}
	if err != nil {
		if temporary != "" {
			_ = os.Remove(temporary) // the next one has another name
		}
		return fmt.Errorf("write %s: %w", dest, err)
	}
	if durable {
		return syncDir(dir)
	}
	return nil
}

// unnamed makes a file in dir that has no name yet.
func unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// nameIt gives the file the name dest, or if that is taken another, temporary one.
func nameIt(f *os.File, dest string) (temporary string, err error) {
	link := func(name string) error {
		return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	}
	if err = link(dest); !errors.Is(err, unix.EEXIST) {
		return "", err
	}
	if temporary, err = temporaryBeside(dest); err != nil {
		return "", err
	}
	return temporary, link(temporary)
}

// temporaryBeside returns a name in the directory of dest that nobody has. Two processes
// may be about the same file, when a server was killed and started again, and must not
// write into one another's.
func temporaryBeside(dest string) (string, error) {
	for range 100 {
		name := fmt.Sprintf("%s.gpdedup-%08x", dest, rand.Uint32())
		if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("no free name beside %s", dest)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) { // a file system that cannot, and need not
		err = nil
	}
	return errors.Join(err, d.Close())
}
