package metrics

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxFile bounds a file in bytes: what is longer is none of ours.
const maxFile = 4 << 20

// filePath returns the file for a command: path itself, unless that is a directory.
func filePath(path, command, namespace string) string {
	if !strings.HasSuffix(path, "/") {
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return path
		}
	}
	name := "gpdedup_" + command
	if namespace != "" {
		name += "_" + namespace
	}
	return filepath.Join(path, plain(name)+".prom")
}

// plain replaces what has no place in the name of a file.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, name)
}

// file is a file of metrics. Beside it lies a lock; who holds that may replace the file.
// A lock with something in it says that some did not get it, and left their numbers in
// files of their own, whose names begin like the lock's.
type file struct{ path string }

func (f *file) lockPath() string { return f.path + ".lock" }

// errBusy says that somebody else holds the lock.
var errBusy = errors.New("the lock is taken")

// merge adds the samples to the file. If ctx ends before the lock is free, it leaves them
// beside it.
func (f *file) merge(ctx context.Context, update *samples) error {
	const flags = os.O_RDWR | os.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK
	lock, err := os.OpenFile(f.lockPath(), flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// Before there is a lock beside it: the path may be a mistake.
		if err := f.check(); err != nil {
			return err
		}
		lock, err = os.OpenFile(f.lockPath(), flags|os.O_CREATE, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	defer lock.Close() // which unlocks it
	switch err := take(ctx, lock); {
	case errors.Is(err, errBusy):
		return f.leave(lock, update)
	case err != nil:
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	now, err := f.read(f.path)
	if err != nil {
		return err
	}
	left, err := f.collect(lock, now)
	if err != nil {
		return err
	}
	now.add(update)
	if err := write(f.path, f.lockPath()+".new", now.encode(false)); err != nil {
		return err
	}
	// Only now: a crash in between counts them twice, not never.
	for _, path := range left {
		_ = os.Remove(path) // then it is counted again
	}
	return nil
}

// check refuses a file that is none of ours.
func (f *file) check() error {
	in, err := open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	begin := make([]byte, len(signature))
	n, err := io.ReadFull(in, begin)
	if n > 0 && (err != nil || string(begin) != signature) {
		return fmt.Errorf("%s was not written by gpdedup: it stays as it is", f.path)
	}
	return nil
}

// open opens a file that may be one of ours.
func open(path string) (*os.File, error) {
	in, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
		in.Close() //nolint:errcheck // it was only looked at
		return nil, fmt.Errorf("%s is no file of metrics: it stays as it is", path)
	}
	return in, nil
}

// take takes the lock. Whoever holds it is done within the fraction of a millisecond.
func take(ctx context.Context, lock *os.File) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 2*time.Millisecond) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errBusy
		}
	}
}

// read reads a file of ours; one that is not there is empty.
func (f *file) read(path string) (*samples, error) {
	in, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newSamples(), nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	s, ours := decode(data)
	if !ours {
		return nil, fmt.Errorf("%s was not written by gpdedup: it stays as it is", path)
	}
	return s, nil
}

// write puts a file in its place. Nothing is synced: after a crash of the host the
// numbers may begin anew, which counters may. Nobody else writes the temporary file.
func write(path, temporary string, data []byte) error {
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	_, err = out.Write(data)
	// Whatever the umask is: who reads it is another user.
	if err = errors.Join(err, out.Chmod(0o644), out.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary) // it has failed already
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// leave puts the samples into a file of their own, and says so in the lock.
func (f *file) leave(lock *os.File, update *samples) error {
	path := f.lockPath() + "-" + rand.Text()[:12]
	if err := write(path+".left", path+".new", update.encode(true)); err != nil {
		return err
	}
	// Only now: whoever finds something in the lock finds the file.
	if _, err := lock.Write([]byte{'.'}); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// collect adds what others have left, and returns the files that they left it in.
func (f *file) collect(lock *os.File, to *samples) ([]string, error) {
	info, err := lock.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	// First: what is left from now on is said anew.
	if err := lock.Truncate(0); err != nil {
		return nil, fmt.Errorf("write metrics: %w", err)
	}
	dir, prefix := filepath.Split(f.lockPath() + "-")
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	var left []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !strings.HasSuffix(e.Name(), ".left") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if s, err := f.read(path); err == nil {
			to.add(s)
			left = append(left, path)
		}
	}
	return left, nil
}
