package base

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gpdedup/gpdedup/repo"
)

// directory is a data directory that is being made of a backup. It cannot be started
// before all is done: global/pg_control, without which no server starts, comes last.
type directory struct {
	root   string
	spaces map[string]string // of tablespaces, by oid: where they go

	mu      sync.Mutex
	made    map[string]bool // directories, by path
	control []byte
	auto    []byte // postgresql.auto.conf
	mode    fs.FileMode
}

const (
	controlName = "global/pg_control"
	autoName    = "postgresql.auto.conf"
)

// signalFiles say what a server does at its start. What the backup has of them is about
// the server that it was taken from.
var signalFiles = []string{"standby.signal", "recovery.signal"}

// emptyDir makes a directory, or checks that it is empty, and returns its path in full.
func emptyDir(dir, what string) (string, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return full, nil
	case err != nil:
		return "", err
	case len(entries) > 0:
		hint := "nothing is ever overwritten: move away or remove what is there, or choose another directory"
		if what != "" {
			hint = "--tablespace-mapping " + what + "=NEWDIR puts it elsewhere"
		}
		return "", repo.WithHint(fmt.Errorf("%w: %s is not empty", repo.ErrUsage, full), hint)
	}
	return full, nil
}

// newDirectory checks that all directories are free, and makes them.
func newDirectory(root string, info *Info, mapping map[string]string) (*directory, error) {
	d := &directory{spaces: make(map[string]string), made: make(map[string]bool), mode: 0o700}
	var err error
	if d.root, err = emptyDir(root, ""); err != nil {
		return nil, err
	}
	left := make(map[string]bool)
	for from := range mapping {
		left[from] = true
	}
	for _, t := range info.Tablespaces {
		where := t.Path
		for _, key := range []string{t.OID, t.Path} {
			if to, ok := mapping[key]; ok {
				where = to
				delete(left, key)
			}
		}
		if !filepath.IsAbs(where) {
			return nil, fmt.Errorf("%w: tablespace %s: %q is no full path", repo.ErrUsage, t.OID, where)
		}
		if d.spaces[t.OID], err = emptyDir(where, t.Path); err != nil {
			return nil, err
		}
	}
	for from := range left {
		return nil, repo.WithHint(fmt.Errorf("%w: the backup has no tablespace %s", repo.ErrUsage, from), "gpdedup base list --json shows them")
	}
	seen := map[string]string{d.root: "the data directory"}
	for oid, where := range d.spaces {
		if other := seen[where]; other != "" {
			return nil, fmt.Errorf("%w: %s is for tablespace %s and for %s", repo.ErrUsage, where, oid, other)
		}
		seen[where] = "tablespace " + oid
	}
	return d, d.begin()
}

func (d *directory) begin() error {
	if err := d.mkdir(d.root, d.mode); err != nil {
		return err
	}
	if err := os.Chmod(d.root, d.mode); err != nil {
		return err
	}
	for oid, where := range d.spaces {
		if err := d.mkdir(where, d.mode); err != nil {
			return err
		}
		if err := os.Chmod(where, d.mode); err != nil {
			return err
		}
		links := filepath.Join(d.root, "pg_tblspc")
		if err := d.mkdir(links, d.mode); err != nil {
			return err
		}
		if err := os.Symlink(where, filepath.Join(links, oid)); err != nil {
			return err
		}
	}
	return nil
}

// mkdir makes a directory and those above it, and remembers them: their entries have to
// be durable, too.
func (d *directory) mkdir(dir string, mode fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made[dir] {
		return nil
	}
	// Those above that are new are entries of others.
	for above := dir; ; above = filepath.Dir(above) {
		d.made[above] = true
		if _, err := os.Stat(above); above != dir && err == nil || above == filepath.Dir(above) {
			break
		}
	}
	d.made[filepath.Dir(dir)] = true
	return os.MkdirAll(dir, mode)
}

// path returns where a member goes.
func (d *directory) path(name string) string {
	if oid, rest, ok := inTablespace(name); ok && d.spaces[oid] != "" {
		return filepath.Join(d.spaces[oid], filepath.FromSlash(rest))
	}
	return filepath.Join(d.root, filepath.FromSlash(name))
}

func (d *directory) dir(h header) error {
	mode := fs.FileMode(h.mode) & 0o750
	if h.name == "." {
		d.mode = mode | 0o700
		return os.Chmod(d.root, d.mode)
	}
	if path.Dir(h.name) == ".gpdedup" || h.name == ".gpdedup" {
		return nil
	}
	where := d.path(h.name)
	if err := d.mkdir(where, mode|0o700); err != nil {
		return err
	}
	return os.Chmod(where, mode|0o700)
}

func (d *directory) file(h header) (fileWriter, error) {
	switch {
	case h.name == infoName, slices.Contains(signalFiles, h.name):
		return nil, nil //nolint:nilnil // it goes nowhere
	case h.name == controlName:
		return &inMemory{to: &d.control}, nil
	case h.name == autoName:
		return &inMemory{to: &d.auto}, nil
	}
	return d.create(h.name, fs.FileMode(h.mode)&0o770|0o600)
}

func (d *directory) create(name string, mode fs.FileMode) (*diskFile, error) {
	where := d.path(name)
	if err := d.mkdir(filepath.Dir(where), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(where, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	return &diskFile{f}, nil
}

// put writes a whole file of our own.
func (d *directory) put(name string, content []byte) error {
	f, err := d.create(name, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		f.Abort()
		return err
	}
	return f.Close()
}

// finish writes what was held back, in an order in which no server can start before all
// else is durable.
func (d *directory) finish(settings []byte, signal string) error {
	if len(d.control) == 0 {
		return fmt.Errorf("%w: no %s in the backup", repo.ErrDamaged, controlName)
	}
	d.auto = withoutRecovery(d.auto)
	if len(d.auto) > 0 && !bytes.HasSuffix(d.auto, []byte("\n")) {
		d.auto = append(d.auto, '\n')
	}
	if err := d.put(autoName, append(d.auto, settings...)); err != nil {
		return err
	}
	// Without it, a server would take the backup for one that crashed.
	if signal != "" {
		if err := d.put(signal, nil); err != nil {
			return err
		}
	}
	if err := d.syncDirs(); err != nil {
		return err
	}
	if err := d.put(controlName, d.control); err != nil {
		return err
	}
	return syncDir(filepath.Dir(d.path(controlName)))
}

func (d *directory) syncDirs() error {
	for dir := range d.made {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// diskFile is a file that is being written.
type diskFile struct{ f *os.File }

func (d *diskFile) Write(p []byte) (int, error) { return d.f.Write(p) }

func (d *diskFile) Close() error { return errors.Join(d.f.Sync(), d.f.Close()) }

func (d *diskFile) Abort() { _ = d.f.Close() } // the restore has failed already

// inMemory keeps a small file for later.
type inMemory struct{ to *[]byte }

func (m *inMemory) Write(p []byte) (int, error) {
	if len(*m.to)+len(p) > maxAuto {
		return 0, fmt.Errorf("%w: %s and %s have more than %d bytes", repo.ErrDamaged, controlName, autoName, maxAuto)
	}
	*m.to = append(*m.to, p...)
	return len(p), nil
}

func (m *inMemory) Close() error { return nil }
func (m *inMemory) Abort()       {}

// maxAuto bounds a file that is kept in memory, in bytes.
const maxAuto = 16 << 20
