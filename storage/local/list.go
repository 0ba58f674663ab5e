package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// List walks the directories below prefix. It does not follow symbolic links.
func (s *Store) List(ctx context.Context, prefix string, fn func(storage.Info) error) error {
	w := walk{Store: s, ctx: ctx, fn: fn}
	err := s.do(ctx, "list", prefix, func(root int) error {
		if w.begun {
			return w.err // a second run would show objects twice
		}
		w.err = w.dir(root, strings.TrimSuffix(prefix, "/"))
		if w.err == nil && w.vanished {
			// Something went away during the walk. If that was the whole tree, an
			// empty listing would be a lie.
			if err := s.proveAbsent(); !errors.Is(err, storage.ErrNotExist) {
				w.err = err
			}
		}
		return w.err
	})
	if w.stop != nil {
		return w.stop
	}
	return err
}

// walk is one run of List.
type walk struct {
	*Store
	ctx      context.Context
	fn       func(storage.Info) error
	begun    bool  // fn has been called
	stop     error // what fn returned
	vanished bool  // a name led nowhere
	err      error
}

// dir shows the objects below the directory dir, "" for the root.
func (w *walk) dir(root int, dir string) error {
	entries, err := w.readDir(root, dir)
	if isAbsent(err) {
		w.vanished = true
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if !isObjectName(dir, e.Name()) {
			continue
		}
		key := join(dir, e.Name())
		switch {
		case e.IsDir():
			err = w.dir(root, key)
		case e.Type().IsRegular():
			err = w.file(root, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) file(root int, key string) error {
	st, err := w.sys.lstat(root, key)
	if isAbsent(err) || errors.Is(err, unix.ESTALE) {
		w.vanished = true
		return nil
	}
	if err != nil {
		return err
	}
	info, err := describe(key, st)
	if err != nil {
		return nil //nolint:nilerr // another kind of file by now
	}
	w.begun = true
	w.stop = w.fn(info)
	return w.stop
}

// Children reads one directory.
func (s *Store) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	var children []storage.Child
	err := s.do(ctx, "list", prefix, func(root int) error {
		dir := strings.TrimSuffix(prefix, "/")
		entries, err := s.readDir(root, dir)
		if isAbsent(err) {
			if err := s.proveAbsent(); !errors.Is(err, storage.ErrNotExist) {
				return err
			}
			return nil
		}
		if err != nil {
			return err
		}
		children = make([]storage.Child, 0, len(entries))
		for _, e := range entries {
			if isObjectName(dir, e.Name()) && (e.IsDir() || e.Type().IsRegular()) {
				children = append(children, storage.Child{Name: e.Name(), Dir: e.IsDir()})
			}
		}
		slices.SortFunc(children, func(a, b storage.Child) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return children, nil
}

// readDir reads the whole directory before anything is done with it: some file
// systems skip entries when others are removed between two reads, and callers do
// remove objects while they list.
func (s *Store) readDir(root int, dir string) ([]fs.DirEntry, error) {
	at := dir
	if at == "" {
		at = "."
	}
	s.freshen(root, at)
	fd, err := s.sys.open(root, at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), filepath.Join(s.path, dir))
	defer f.Close()
	return f.ReadDir(-1)
}

// join appends a name to a directory, "" for the root.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func modTime(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()) }
