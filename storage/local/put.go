package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// piece is how many bytes are moved between two looks at the context.
const piece = 4 << 20

// Put stores data under key. See the package comment for the steps.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	return s.do(ctx, "put", key, func(root int) error { return s.put(ctx, root, key, data) })
}

func (s *Store) put(ctx context.Context, root int, key string, data []byte) error {
	tmp, err := s.writeTemporary(ctx, root, data)
	if err != nil {
		return err
	}
	// The temporary goes away however this ends, above all on a full disk. That
	// it may fail is no matter: nothing shows what lies in tmp/.
	removed := false
	remove := func() {
		if !removed {
			_ = s.sys.unlink(root, tmp)
			removed = true
		}
	}
	defer remove()

	dir := parent(key)
	for range tries {
		// The directories that lead to the object are durable before it becomes
		// visible, so that all that is left to sync afterwards is its own entry.
		if err = s.settle(root, dir); err == nil {
			// The last moment at which the object is not yet visible: from here on
			// an ended context must not matter any more, before it must.
			if err := ctx.Err(); err != nil {
				return err
			}
			err = s.place(root, tmp, key)
		}
		switch {
		case err == nil:
			// Before the directory is synced, so that a journal can commit both
			// changes at once.
			remove()
			return s.syncDir(root, dir)
		case errors.Is(err, unix.EEXIST):
			err = s.compare(ctx, root, key, data)
			if err == nil {
				// Whoever stored it may have crashed, or may be about to, between
				// link and sync. Our caller is promised more than that.
				return s.syncDir(root, dir)
			}
			if !errors.Is(err, unix.ENOENT) {
				return err
			}
			// Deleted since: the name is free again.
		case errors.Is(err, unix.ENOENT):
			// A directory on the way has gone although it was there once, so what
			// we remember of the way is worth nothing. (If it is the temporary
			// that has gone, the next rounds end the same way.)
			s.forget(dir)
		default:
			return err
		}
	}
	return fmt.Errorf("place %s: gave up after %d tries: %w", tmp, tries, err)
}

// Prepare makes the directories that lead to key, and makes them durable, which a Put of
// key then need not do. It is for who knows the key before the data.
func (s *Store) Prepare(ctx context.Context, key string) error {
	return s.do(ctx, "put", key, func(root int) error { return s.settle(root, parent(key)) })
}

// writeTemporary writes data to a new file in tmp/ and returns its name when the
// bytes are on stable storage; on an error there is no such file.
func (s *Store) writeTemporary(ctx context.Context, root int, data []byte) (string, error) {
	tmp, fd, err := s.createTemporary(root)
	if err != nil {
		return "", err
	}
	err = s.fill(ctx, fd, data)
	if cerr := s.sys.close(fd); err == nil {
		err = cerr
	}
	if err != nil {
		_ = s.sys.unlink(root, tmp)
		return "", err
	}
	return tmp, nil
}

// temporaryPrefix begins the names that RemoveTemporaries takes for its own.
const temporaryPrefix = "put-"

func (s *Store) createTemporary(root int) (name string, fd int, err error) {
	for range tries {
		// The pid is for people who look into tmp/. The random number is what makes
		// names unique among hosts.
		name = fmt.Sprintf("%s/%s%d-%016x", tmpDir, temporaryPrefix, os.Getpid(), rand.Uint64())
		fd, err = s.sys.open(root, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, s.fileMode)
		switch {
		case err == nil:
			return name, fd, nil
		case errors.Is(err, unix.ENOENT):
			if err := s.makeDir(root, tmpDir); err != nil && !errors.Is(err, unix.EEXIST) {
				return "", 0, err
			}
		case !errors.Is(err, unix.EEXIST):
			return "", 0, err
		}
	}
	return "", 0, fmt.Errorf("create temporary: %w", err)
}

// CheckWritable finds out whether objects can be written: it makes a temporary, as Put
// does, and removes it. No object appears.
func (s *Store) CheckWritable(ctx context.Context) error {
	err := s.withRoot(func(root int) error {
		// Small files may lie in what a full file system keeps for its own records.
		name, err := s.writeTemporary(ctx, root, make([]byte, 64<<10))
		if err != nil {
			return err
		}
		return s.sys.unlink(root, name)
	})
	if err != nil {
		return fmt.Errorf("check that the repository can be written to: %w", classify(s.name, "put", err))
	}
	return nil
}

func (s *Store) fill(ctx context.Context, fd int, data []byte) error {
	// Explicitly, because the umask has had its say in open.
	if err := s.sys.chmod(fd, s.fileMode); err != nil {
		return err
	}
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.sys.write(fd, data[:min(len(data), piece)])
		if err != nil {
			return err
		}
		data = data[n:]
	}
	// Before the link: a crash after it must not leave a name that leads to an
	// empty or a partly written file.
	return s.sys.sync(fd)
}

// place gives the temporary its final name, or fails with EEXIST.
func (s *Store) place(root int, tmp, key string) error {
	if !s.noLink.Load() {
		err := s.sys.link(root, tmp, key)
		// EPERM is what file systems without hard links say. If it means something
		// else, the rename says it again.
		if !errors.Is(err, unix.EPERM) && !isUnsupported(err) {
			return err
		}
	}
	err := s.sys.rename(root, tmp, key)
	if err == nil {
		s.noLink.Store(true)
		return nil
	}
	if isUnsupported(err) {
		return fmt.Errorf("%w: it has neither hard links nor a rename that does not replace: %w", ErrUnsupported, err)
	}
	return err
}

func isUnsupported(err error) bool {
	for _, e := range []error{unix.EINVAL, unix.ENOSYS, unix.ENOTSUP, unix.EOPNOTSUPP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// compare returns nil if the object under key consists of data, and makes sure
// that its bytes are on stable storage, whoever wrote them. ENOENT means that
// there is no such object any more.
func (s *Store) compare(ctx context.Context, root int, key string, data []byte) error {
	fd, err := s.openObject(root, key)
	if errors.Is(err, fs.ErrPermission) {
		// Not wrapped: it would look as if we were not allowed to write.
		return fmt.Errorf("an object is there, and to compare it: %v", err)
	}
	if err != nil {
		return err
	}
	defer s.sys.close(fd)
	st, err := s.sys.fstat(fd)
	if err != nil {
		return err
	}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return fmt.Errorf("%w: it is a part of the keys of other objects", storage.ErrInvalidKey)
	default:
		return fmt.Errorf("%s is not a regular file", key)
	}
	if st.Size != int64(len(data)) {
		return fmt.Errorf("%w: %d bytes are there, %d were to be stored", storage.ErrExists, st.Size, len(data))
	}
	buf := make([]byte, min(len(data), 256<<10))
	for offset := 0; offset < len(data); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.sys.pread(fd, buf[:min(len(buf), len(data)-offset)], int64(offset))
		if err != nil {
			return err
		}
		if n == 0 || !bytes.Equal(buf[:n], data[offset:offset+n]) {
			return storage.ErrExists
		}
		offset += n
	}
	return s.sys.sync(fd)
}
