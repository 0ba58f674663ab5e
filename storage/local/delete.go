package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// Delete removes the object. Directories that become empty stay: to remove one
// would race with a Put that is about to use it.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.do(ctx, "delete", key, func(root int) error {
		err := s.sys.unlink(root, key)
		if s.remote && errors.Is(err, unix.ENOENT) {
			s.freshen(root, parent(key))
			err = s.sys.unlink(root, key)
		}
		// Linux says EISDIR of a directory, POSIX and others EPERM.
		if errors.Is(err, unix.EPERM) {
			if st, serr := s.sys.lstat(root, key); serr == nil && uint32(st.Mode)&unix.S_IFMT == unix.S_IFDIR {
				err = unix.EISDIR
			}
		}
		if err != nil {
			if !isAbsent(err) {
				return err
			}
			if err := s.proveAbsent(); !errors.Is(err, storage.ErrNotExist) {
				return err
			}
		}
		// An absent object, too: whoever removed it may have crashed, or this may
		// be a second try, before the removal was durable.
		err = s.syncDir(root, parent(key))
		if isAbsent(err) {
			return nil // no directory, no entry in it
		}
		return err
	})
}

// RemoveTemporaries removes the temporaries of crashed Puts: those whose last
// change, by the file system's own clock, is at least olderThan ago. It returns
// how many it removed.
//
// A Put that is still running when its temporary is removed fails, and can be
// tried again; no object can be damaged. So olderThan is a matter of courtesy: a
// day is more than any Put takes.
func (s *Store) RemoveTemporaries(ctx context.Context, olderThan time.Duration) (int, error) {
	removed := 0
	err := s.withRoot(func(root int) error {
		now, err := s.now(root)
		if err != nil {
			return err
		}
		entries, err := s.readDir(root, tmpDir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), temporaryPrefix) {
				continue
			}
			name := tmpDir + "/" + e.Name()
			st, err := s.sys.lstat(root, name)
			if err == nil && now.Sub(modTime(st)) < olderThan {
				continue
			}
			if err == nil {
				err = s.sys.unlink(root, name)
			}
			switch {
			case err == nil:
				removed++
			case !isAbsent(err): // absent: its Put ended meanwhile
				return err
			}
		}
		return nil
	})
	if err != nil {
		return removed, fmt.Errorf("remove temporaries in %s: %w", s.name, classify(s.name, "delete", err))
	}
	return removed, nil
}

// now asks the file system for the time, which may be a server's, by making a
// file there.
func (s *Store) now(root int) (time.Time, error) {
	name, fd, err := s.createTemporary(root)
	if err != nil {
		return time.Time{}, err
	}
	st, err := s.sys.fstat(fd)
	_ = s.sys.close(fd)
	_ = s.sys.unlink(root, name)
	if err != nil {
		return time.Time{}, err
	}
	return modTime(st), nil
}
