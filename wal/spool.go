package wal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// Spool is a directory of segments that were fetched before the server asks for them.
// It belongs to one server: its data directory, its place in one repository. What is
// in it was checked as every file that is fetched, and is checked once more before it is
// handed over if it has lain there for long, was changed, or the machine went down since.
//
//	<segment>.<hash>.<time>.<boot>   a segment
//	<segment>.part                   one that is being fetched
//	last                             what the server asked for last: a symbolic link to nowhere
//	target                           the newest timeline history that it got
//	lock                             held by the process that fetches ahead
//	bell                             a pipe that wakes it up
//
// Nothing here is needed: whatever goes wrong with a spool, the file is fetched from
// the repository.
type Spool struct{ dir string }

const (
	targetFile = "target"
)

// OpenSpool opens the spool of the server at d below the directory root, and makes it
// if it is missing. repository is what tells repositories apart: their location. A
// directory that others can write to is refused.
func OpenSpool(root, repository, namespace, content string, system SystemID, d DataDir) (*Spool, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if d == "" {
		return nil, errors.New("no data directory")
	}
	if err := outside(root, d); err != nil {
		return nil, err
	}
	ns, err := repo.EscapeName("namespace", namespace)
	if err != nil {
		return nil, err
	}
	who := digest.Sum([]byte(strings.Join([]string{repository, namespace, content, system.String(), string(d)}, "\x00")))
	s := &Spool{dir: filepath.Join(root, fmt.Sprintf("%.60s.%s.%s.%s", ns, content, system, hex.EncodeToString(who[:8])))}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if !quick.Owned(s.dir) {
		return nil, fmt.Errorf("%s belongs to somebody else, or others can write to it", s.dir)
	}
	return s, nil
}

// outside refuses a spool in the data directory: pg_rewind and base backups would copy
// it, and pg_wal must hold nothing but WAL.
func outside(root string, d DataDir) error {
	for _, dir := range []string{string(d), resolve(string(d)), resolve(d.path("pg_wal"))} {
		for _, path := range []string{root, resolve(root)} {
			if path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") {
				return repo.WithHint(fmt.Errorf("%w: the spool directory %s is inside the server's %s", repo.ErrUsage, root, dir),
					"give another --spool-dir")
			}
		}
	}
	return nil
}

// resolve follows the symbolic links in the part of the path that exists.
func resolve(path string) string {
	rest := ""
	for {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(path)
		if parent == path {
			return filepath.Join(path, rest)
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = parent
	}
}

// Dir is the absolute path of the spool.
func (s *Spool) Dir() string { return s.dir }

func (s *Spool) path(name string) string { return filepath.Join(s.dir, name) }

// clear removes everything, for the server needs no spool any more.
func (s *Spool) clear() { _ = os.RemoveAll(s.dir) }

// room reports how many bytes are free where the spool is.
func (s *Spool) room() int64 {
	var st unix.Statfs_t
	if unix.Statfs(s.dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}
