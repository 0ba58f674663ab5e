package local

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// settle makes the directory dir exist and its entry durable, together with
// those of all directories above it.
//
// A directory that is there already is not enough: a process that made it a
// moment ago may crash together with the machine before it synced the entry, and
// take with it what we put inside. So each process syncs, once for each
// directory, the one that it lies in.
func (s *Store) settle(root int, dir string) error {
	if dir == "." {
		return nil // Create made the root durable
	}
	if _, ok := s.settled.Load(dir); ok {
		return nil
	}
	above := parent(dir)
	if err := s.settle(root, above); err != nil {
		return err
	}
	if err := s.makeDir(root, dir); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	// After the directory is known to exist, never before: this is the sync
	// that makes its entry durable.
	if err := s.syncDir(root, above); err != nil {
		return err
	}
	s.settled.Store(dir, struct{}{})
	return nil
}

// forget drops what settle remembers of dir and the directories above it.
func (s *Store) forget(dir string) {
	for ; dir != "."; dir = parent(dir) {
		s.settled.Delete(dir)
	}
}

// makeDir makes one directory, with the root's permissions whatever the umask.
func (s *Store) makeDir(root int, dir string) error {
	if err := s.sys.mkdir(root, dir, s.dirMode); err != nil {
		return err
	}
	return s.sys.chmodDir(root, dir, s.dirMode)
}

// syncDir makes the present entries of dir durable, and the absence of others.
func (s *Store) syncDir(root int, dir string) error {
	fd, err := s.sys.open(root, dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	err = s.sys.sync(fd)
	if cerr := s.sys.close(fd); err == nil {
		err = cerr
	}
	return err
}

// freshen makes a network file system forget what it remembers of the way to
// dir: opening a directory makes the client compare it with the server's, and
// drop the names under it, present or absent, if it has changed. The way is
// walked from the root, because a directory on it may itself be remembered as
// absent. It is a hint, so errors are left to what follows.
func (s *Store) freshen(root int, dir string) {
	if !s.remote {
		return
	}
	way := "."
	for name := range strings.SplitSeq("./"+dir, "/") {
		way = path.Join(way, name)
		fd, err := s.sys.open(root, way, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return
		}
		_ = s.sys.close(fd)
	}
}
