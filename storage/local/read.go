package local

import (
	"context"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// Read fills dst from the object.
func (s *Store) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	return s.withObject(ctx, "read", key, func(fd int) error {
		// The size is asked for only where pread would not do: what it says of a
		// range that ends beyond the largest number is EINVAL.
		endless := offset > math.MaxInt64-int64(len(dst))
		if offset < 0 || len(dst) == 0 || endless {
			size, err := s.size(fd)
			if err != nil {
				return err
			}
			if offset < 0 {
				offset += size
			}
			if offset < 0 || endless {
				return fmt.Errorf("%w: %d bytes", storage.ErrShort, size)
			}
		}
		return s.readFull(ctx, fd, offset, dst)
	})
}

// Get returns the whole object.
func (s *Store) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	var data []byte
	err := s.withObject(ctx, "get", key, func(fd int) error {
		size, err := s.size(fd)
		if err != nil {
			return err
		}
		if limit < 0 {
			limit = math.MaxInt
		}
		if size > limit {
			return fmt.Errorf("%w: %d bytes, expected at most %d", storage.ErrTooLong, size, limit)
		}
		data = make([]byte, size)
		return s.readFull(ctx, fd, 0, data)
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Stat describes the object.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	var info storage.Info
	err := s.do(ctx, "stat", key, func(root int) error {
		st, err := s.statObject(root, key)
		if err == nil {
			info, err = describe(key, st)
		}
		if isAbsent(err) {
			return s.proveAbsent()
		}
		return err
	})
	return info, err
}

func (s *Store) statObject(root int, key string) (*unix.Stat_t, error) {
	if !s.remote {
		return s.sys.lstat(root, key)
	}
	// Whether a pack is still there decides about backups. A network file system
	// may answer from memory unless a file is opened, and of its name even then:
	// so the way there is looked up anew, and then the file opened.
	s.freshen(root, parent(key))
	fd, err := s.openObject(root, key)
	if err != nil {
		return nil, err
	}
	defer s.sys.close(fd)
	return s.sys.fstat(fd)
}

// describe returns errAbsent for a directory, which is no object.
func describe(key string, st *unix.Stat_t) (storage.Info, error) {
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
		return storage.Info{Key: key, Size: st.Size, ModTime: modTime(st)}, nil
	case unix.S_IFDIR:
		return storage.Info{}, errAbsent
	}
	return storage.Info{}, errors.New("not a regular file")
}

// withObject lends f a descriptor of the object.
func (s *Store) withObject(ctx context.Context, op, key string, f func(fd int) error) error {
	return s.do(ctx, op, key, func(root int) error {
		fd, err := s.openObject(root, key)
		if err == nil {
			err = f(fd)
			_ = s.sys.close(fd) // nothing was written
		}
		if isAbsent(err) {
			return s.proveAbsent()
		}
		return err
	})
}

// openObject opens what lies under key for reading, not following a symbolic
// link there and not waiting for the other end of a pipe.
func (s *Store) openObject(root int, key string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := s.sys.open(root, key, flags, 0)
	if s.remote && isAbsent(err) {
		s.freshen(root, parent(key))
		fd, err = s.sys.open(root, key, flags, 0)
	}
	return fd, err
}

func (s *Store) size(fd int) (int64, error) {
	st, err := s.sys.fstat(fd)
	if err != nil {
		return 0, err
	}
	info, err := describe("", st)
	return info.Size, err
}

func (s *Store) readFull(ctx context.Context, fd int, offset int64, dst []byte) error {
	for len(dst) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.sys.pread(fd, dst[:min(len(dst), piece)], offset)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%w: it ends %d bytes early", storage.ErrShort, len(dst))
		}
		dst = dst[n:]
		offset += int64(n)
	}
	return nil
}
