package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrNotEmpty: Create was given a directory that holds something already. The
// error that wraps it names one entry.
var ErrNotEmpty = errors.New("directory is not empty")

// ErrUnsupported: the file system lacks what a repository needs of it.
var ErrUnsupported = errors.New("file system cannot hold a repository")

// Create makes path a place for a new repository and opens it.
//
// If nothing is there, it makes the directory, with mode 0700; what it lies in
// must exist, because a path that is missing altogether is more often a file
// system that is not mounted. A directory that is there keeps its mode, from which
// those of everything in it derive: this is how access is given to a group. It
// must be empty (else ErrNotEmpty), apart from what file systems put into their
// top directory and from the empty tmp of an earlier attempt.
func Create(path string) (*Store, error) { return create(path, unixSystem{}) }

func create(path string, sys system) (*Store, error) {
	if err := makeRoot(path); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			err = classify(path, "put", err)
		}
		return nil, fmt.Errorf("create directory: %w", err)
	}
	s, err := open(path, sys)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("create repository directory %s: %w", path, classify(s.name, "put", err))
	}
	return s, nil
}

func makeRoot(path string) error {
	err := os.Mkdir(path, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil // open will say if it is not a directory
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: the directory that it is to lie in does not exist: %w", path, err)
	case err != nil:
		return err
	}
	// The umask may have taken more away.
	if err := os.Chmod(path, 0o700); err != nil {
		return err
	}
	// Everything that will be durable inside hangs on this entry.
	above, err := os.Open(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return err
	}
	defer above.Close()
	return above.Sync()
}

// prepare refuses what is not empty, makes tmp/, and finds out whether objects can
// be written here.
func (s *Store) prepare() error {
	return s.withRoot(func(root int) error {
		if err := s.checkEmpty(root); err != nil {
			return err
		}
		if err := s.makeDir(root, tmpDir); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := s.probe(root); err != nil {
			return err
		}
		return s.syncDir(root, ".")
	})
}

func (s *Store) checkEmpty(root int) error {
	entries, err := s.readDir(root, "")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		// What a creation that failed half-way leaves, if nothing is in it.
		if (name == tmpDir || name == "keys") && e.IsDir() {
			inside, err := s.readDir(root, name)
			if err != nil {
				return err
			}
			if len(inside) == 0 {
				continue
			}
			name += "/" + inside[0].Name()
		}
		if !isForeign("", name) {
			return fmt.Errorf("%w: it holds %q", ErrNotEmpty, name)
		}
	}
	return nil
}

// probe makes an object in tmp/ the way Put does, and then once more, which must
// fail: a file system on which it does not would let one writer replace what
// another has stored.
func (s *Store) probe(root int) error {
	first, fd, err := s.createTemporary(root)
	if err != nil {
		return err
	}
	defer func() { _ = s.sys.unlink(root, first) }()
	_ = s.sys.close(fd)
	second, fd, err := s.createTemporary(root)
	if err != nil {
		return err
	}
	defer func() { _ = s.sys.unlink(root, second) }()
	_ = s.sys.close(fd)
	target := first + "-object"
	defer func() { _ = s.sys.unlink(root, target) }()
	if err := s.place(root, first, target); err != nil {
		return err
	}
	if err := s.place(root, second, target); !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: giving a file a name that is taken did not fail as it must (%v)", ErrUnsupported, err)
	}
	err = s.syncDir(root, tmpDir)
	if isUnsupported(err) {
		return fmt.Errorf("%w: directories cannot be synced: %w", ErrUnsupported, err)
	}
	return err
}
