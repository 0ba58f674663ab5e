// Package local keeps a repository's objects as files below one directory.
//
// An object with the key packs/ab/abcd is the file packs/ab/abcd. It comes into
// being in this order, and each step is durable before a later one relies on it:
//
//  1. its bytes go to a new file in tmp/, which is synced;
//  2. missing directories are made and the directories that they lie in synced;
//  3. link(2) gives the file its final name, and fails if the name is taken: this
//     is the moment at which the object becomes visible, whole;
//  4. the name in tmp/ is removed, and the directory of the final name synced.
//
// A crash at any point leaves either no object or the whole one, and at most a
// file in tmp/ that nothing shows and [Store.RemoveTemporaries] removes. Where the
// file system has no hard links, a rename that refuses to replace stands in for
// step 3; where it has neither, Create refuses the directory.
//
// All access goes through one descriptor of the root directory. So an unmount
// cannot make a full repository look like an empty one in mid-run: as long as the
// store is open the file system stays, or what is asked of it fails with an error
// that is not storage.ErrNotExist.
//
// On file systems that other hosts change too (NFS and its like) the client may
// remember for a while what it once saw. Before such a store calls a key absent,
// and before it trusts Stat, it makes the client ask the server.
//
// Besides what storage.CheckKey refuses, no key may begin with tmp or .snapshot,
// or be the name of a file that NFS or FUSE keeps for somebody who still has it
// open (.nfs… and .fuse_hidden…, in hexadecimal). A key may not be the prefix of
// another at a "/", because a file is no directory.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// tmpDir holds what is being written. It lies below the root, because link and
// rename do not cross file systems.
const tmpDir = "tmp"

// tries bounds how often an operation begins anew after something that passes at
// once or not at all: a stale NFS handle, a directory removed by someone else.
const tries = 4

// Store is a directory opened as storage. It is safe for concurrent use by any
// number of goroutines, and of processes.
type Store struct {
	name string   // as the user gave it
	path string   // absolute, to ask whether the root is still there
	root *os.File // what all names are relative to
	conn syscall.RawConn
	sys  system

	dev, ino uint64 // of the root
	dirMode  uint32 // permissions of the root, for new directories
	fileMode uint32 // the same without execution and without writing by others
	remote   bool   // other hosts may change the file system

	// noLink is set once the file system turned out to have no hard links.
	noLink atomic.Bool

	// settled holds the directories ("a", "a/b") whose own entry this process has
	// made durable. Directories made by others are in doubt until then: they may
	// have been made a moment ago by a process that has yet to sync them.
	settled sync.Map
}

var _ storage.Storage = (*Store)(nil)

// Open opens the directory path, which must exist: otherwise the error wraps
// storage.ErrNotExist. It writes nothing, so that a read-only mount will do.
func Open(path string) (*Store, error) { return open(path, unixSystem{}) }

func open(path string, sys system) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", path, err)
	}
	root, err := os.OpenFile(abs, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("open directory: %w: %w", storage.ErrNotExist, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", classify(path, "open", err))
	}
	s := &Store{name: path, path: abs, root: root, sys: sys}
	if err := s.describe(); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("open directory %s: %w", path, err)
	}
	return s, nil
}

// describe fills in what the store has to know of its root.
func (s *Store) describe() error {
	var err error
	if s.conn, err = s.root.SyscallConn(); err != nil {
		return err
	}
	return s.withRoot(func(root int) error {
		st, err := s.sys.fstat(root)
		if err != nil {
			return err
		}
		s.dev, s.ino = uint64(st.Dev), st.Ino
		// The sticky bit is left out: it would keep one writer's prune from
		// removing what another writer stored.
		s.dirMode = uint32(st.Mode) & 0o2777
		s.fileMode = uint32(st.Mode) & 0o777 &^ (0o111 | 0o022)
		s.remote, err = isRemote(root)
		return err
	})
}

// Location is the path as it was given to Open or Create.
func (s *Store) Location() string { return s.name }

// Path returns the absolute path of the directory, in which each object is a file named by its key,
// and false if it is on a file system that other hosts may change, where it takes more than a look to know one.
func (s *Store) Path() (path string, local bool) { return s.path, !s.remote }

// Close closes the directory. Operations that are running may finish; later ones
// fail with os.ErrClosed.
func (s *Store) Close() error { return s.root.Close() }

// withRoot lends f the descriptor of the root, which stays open until f returns
// even if the store is closed meanwhile: a number that had been closed could by
// then belong to another file.
func (s *Store) withRoot(f func(root int) error) error {
	err := os.ErrClosed
	if cerr := s.conn.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return os.ErrClosed
	}
	return err
}

// do runs f unless the context has ended or the key is invalid. It tries again
// when NFS says that a handle went stale: the name may lead to a new file by now.
func (s *Store) do(ctx context.Context, op, key string, f func(root int) error) error {
	err := ctx.Err()
	if err == nil {
		if op == "list" {
			err = checkPrefix(key)
		} else {
			err = checkKey(key)
		}
	}
	if err == nil {
		for range tries {
			err = s.withRoot(f)
			if !errors.Is(err, unix.ESTALE) || ctx.Err() != nil {
				break
			}
		}
	}
	if err == nil {
		return nil
	}
	return &storage.Error{Op: op, Key: key, Err: classify(s.name, op, err)}
}
