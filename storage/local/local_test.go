package local

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/storagetest"
)

// newStore creates a store in a directory of its own.
func newStore(t testing.TB) *Store { return newStoreOn(t, unixSystem{}) }

func newStoreOn(t testing.TB, sys system) *Store {
	t.Helper()
	s, err := create(filepath.Join(t.TempDir(), "repo"), sys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	for name, prepare := range map[string]func(*Store){
		"Link":   func(*Store) {},
		"Rename": func(s *Store) { s.noLink.Store(true) },
		"Remote": func(s *Store) { s.remote = true },
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) storage.Storage {
				s := newStore(t)
				prepare(s)
				t.Cleanup(func() { wantNoTemporaries(t, s) })
				return s
			})
		})
	}
}

func temporaries(t testing.TB, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.path, tmpDir))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func wantNoTemporaries(t testing.TB, s *Store) {
	t.Helper()
	if left := temporaries(t, s); len(left) != 0 {
		t.Errorf("temporaries are left: %v", left)
	}
}

func mustPut(t testing.TB, s *Store, key string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, data); err != nil {
		t.Fatal(err)
	}
}

func keys(t testing.TB, s *Store) []string {
	t.Helper()
	var keys []string
	if err := s.List(t.Context(), "", func(i storage.Info) error { keys = append(keys, i.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new")
	s, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Location() != path {
		t.Errorf("location %q, want %q", s.Location(), path)
	}
	again, err := Create(path) // nothing was stored yet
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	mustPut(t, s, "config", []byte("x"))
	if _, err := Create(path); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), `"config"`) {
		t.Errorf("create over a repository: %v", err)
	}
	if _, err := Create(filepath.Join(dir, "missing", "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create below a missing directory: %v", err)
	}
	if _, err := Create(filepath.Join(path, "config")); err == nil {
		t.Error("create took a file for a directory")
	}
}

func TestCreateIgnoresWhatFileSystemsKeep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"lost+found", ".snapshot", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lost+found", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := keys(t, s); len(got) != 0 {
		t.Errorf("list shows %v", got)
	}
	if c, err := s.Children(t.Context(), ""); err != nil || len(c) != 0 {
		t.Errorf("children: %v, %v", c, err)
	}
	other := t.TempDir()
	if err := os.Mkdir(filepath.Join(other, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "tmp", "holiday.jpg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(other); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "tmp/holiday.jpg") {
		t.Errorf("create where tmp holds something: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "missing")); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("open a missing directory: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("open a file: %v", err)
	}
	s := newStore(t)
	mustPut(t, s, "a/b", []byte("x"))
	link := filepath.Join(dir, "link")
	if err := os.Symlink(s.path, link); err != nil {
		t.Fatal(err)
	}
	other, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	mustPut(t, other, "a/c", []byte("y"))
	if got := keys(t, s); !slices.Equal(got, []string{"a/b", "a/c"}) {
		t.Errorf("list after a put through a link to the root: %v", got)
	}
	if _, err := other.Stat(t.Context(), "absent"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("stat through a link to the root: %v", err)
	}
}

func TestClosed(t *testing.T) {
	s := newStore(t)
	mustPut(t, s, "a", []byte("x"))
	err := s.List(t.Context(), "", func(storage.Info) error { return s.Close() })
	if err != nil {
		t.Errorf("list that was running when the store was closed: %v", err)
	}
	if err := s.Put(t.Context(), "b", nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("put after close: %v", err)
	}
	if _, err := s.Get(t.Context(), "a", -1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
}

func TestReservedKeys(t *testing.T) {
	s := newStore(t)
	silly := ".nfs000000000a1b2c3d00000001"
	for _, key := range []string{"tmp", "tmp/x", ".snapshot", ".snapshot/x", silly, "packs/" + silly, "a/" + silly + "/b"} {
		if err := s.Put(t.Context(), key, nil); !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("put %s: %v", key, err)
		}
	}
	for _, key := range []string{"tmpx", "a/tmp", "a/.snapshot", ".nfs", ".nfs-backups", "packs/.nfs12"} {
		mustPut(t, s, key, nil)
	}
	if _, err := s.Children(t.Context(), "tmp/"); !errors.Is(err, storage.ErrInvalidKey) {
		t.Errorf("children of tmp: %v", err)
	}
	if got := keys(t, s); len(got) != 6 {
		t.Errorf("list: %v", got)
	}
}

func TestKeyBelowAnObject(t *testing.T) {
	s := newStore(t)
	mustPut(t, s, "a", []byte("x"))
	mustPut(t, s, "d/e", []byte("x"))
	for _, key := range []string{"a/b", "a/b/c", "d"} {
		if err := s.Put(t.Context(), key, nil); !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("put %s: %v", key, err)
		}
	}
	wantNoTemporaries(t, s)
}

// TestForeignFiles puts into the tree what is no object: none of it is shown,
// followed, waited for, or mistaken for one.
func TestForeignFiles(t *testing.T) {
	s := newStore(t)
	mustPut(t, s, "packs/a", []byte("x"))
	at := func(name string) string { return filepath.Join(s.path, name) }
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Symlink(outside, at("linked")),
		os.Symlink(filepath.Join(outside, "f"), at("packs/link")),
		unix.Mkfifo(at("packs/pipe"), 0o600),
		os.WriteFile(at("packs/a~"), nil, 0o600),
		os.WriteFile(at("packs/.nfs000000000a1b2c3d00000001"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(t, s); !slices.Equal(got, []string{"packs/a"}) {
		t.Errorf("list: %v", got)
	}
	if c, err := s.Children(t.Context(), ""); err != nil || !slices.Equal(c, []storage.Child{{Name: "packs", Dir: true}}) {
		t.Errorf("children: %v, %v", c, err)
	}
	if c, err := s.Children(t.Context(), "packs/"); err != nil || !slices.Equal(c, []storage.Child{{Name: "a"}}) {
		t.Errorf("children: %v, %v", c, err)
	}
	for _, key := range []string{"packs/link", "packs/pipe"} {
		_, getErr := s.Get(t.Context(), key, -1)
		_, statErr := s.Stat(t.Context(), key)
		for op, err := range map[string]error{
			"get": getErr, "stat": statErr, "put": s.Put(t.Context(), key, []byte("x")),
			"read": s.Read(t.Context(), key, 0, make([]byte, 1)),
		} {
			if err == nil || errors.Is(err, storage.ErrNotExist) || errors.Is(err, storage.ErrExists) {
				t.Errorf("%s %s: %v", op, key, err)
			}
		}
	}
}

func TestRootVanishes(t *testing.T) {
	for name, after := range map[string]func(path string) error{
		"Moved":    func(string) error { return nil },
		"Replaced": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			mustPut(t, s, "a", []byte("x"))
			if err := os.Rename(s.path, s.path+"-moved"); err != nil {
				t.Fatal(err)
			}
			if err := after(s.path); err != nil {
				t.Fatal(err)
			}
			wantNoProof(t, s)
		})
	}
	t.Run("Removed", func(t *testing.T) {
		s := newStore(t)
		if err := os.RemoveAll(s.path); err != nil {
			t.Fatal(err)
		}
		wantNoProof(t, s)
		if err := s.List(t.Context(), "", func(storage.Info) error { return nil }); err == nil {
			t.Error("list of a root that was removed is an empty listing")
		}
		if err := s.Put(t.Context(), "x", nil); err == nil || errors.Is(err, storage.ErrNotExist) {
			t.Errorf("put: %v", err)
		}
	})
}

// wantNoProof checks that nothing is called absent.
func wantNoProof(t *testing.T, s *Store) {
	t.Helper()
	_, getErr := s.Get(t.Context(), "absent", -1)
	_, statErr := s.Stat(t.Context(), "absent")
	_, childrenErr := s.Children(t.Context(), "absent/")
	for op, err := range map[string]error{
		"get": getErr, "stat": statErr, "children": childrenErr,
		"list":   s.List(t.Context(), "absent/", func(storage.Info) error { return nil }),
		"read":   s.Read(t.Context(), "absent", 0, make([]byte, 1)),
		"delete": s.Delete(t.Context(), "absent"),
	} {
		if err == nil || errors.Is(err, storage.ErrNotExist) {
			t.Errorf("%s: %v, want an error that proves nothing", op, err)
		}
	}
}

func TestRemoveTemporaries(t *testing.T) {
	s := newStore(t)
	mustPut(t, s, "a", []byte("x"))
	at := func(name string) string { return filepath.Join(s.path, tmpDir, name) }
	day := 24 * time.Hour
	old := time.Now().Add(-2 * day)
	for _, name := range []string{"put-1-old", "put-1-new", "not-ours"} {
		if err := os.WriteFile(at(name), []byte("partial"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "put-1-new" {
			if err := os.Chtimes(at(name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A crash between link and unlink: the same file under both names.
	if err := os.Link(filepath.Join(s.path, "a"), at("put-1-linked")); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, s); !slices.Equal(got, []string{"a"}) {
		t.Errorf("list shows temporaries: %v", got)
	}
	if n, err := s.RemoveTemporaries(t.Context(), day); n != 1 || err != nil {
		t.Errorf("removed %d older than a day, %v", n, err)
	}
	if left := temporaries(t, s); !slices.Equal(left, []string{"not-ours", "put-1-linked", "put-1-new"}) {
		t.Errorf("left: %v", left)
	}
	if n, err := s.RemoveTemporaries(t.Context(), 0); n != 2 || err != nil {
		t.Errorf("removed %d of any age, %v", n, err)
	}
	if got, err := s.Get(t.Context(), "a", -1); err != nil || !bytes.Equal(got, []byte("x")) {
		t.Errorf("the object that was linked twice: %q, %v", got, err)
	}
	if err := os.RemoveAll(filepath.Join(s.path, tmpDir)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.RemoveTemporaries(t.Context(), 0); n != 0 || err != nil {
		t.Errorf("removed %d without tmp, %v", n, err)
	}
	mustPut(t, s, "b", nil)
}

// unreadable is a system in which objects may not be opened.
type unreadable struct{ unixSystem }

func (u unreadable) open(dir int, name string, flags int, mode uint32) (int, error) {
	if flags&unix.O_NONBLOCK != 0 {
		return 0, unix.EACCES
	}
	return u.unixSystem.open(dir, name, flags, mode)
}

// TestOthersObject: what is there belongs to another user. That proves neither
// that it is absent, nor that it differs, nor that nothing may be written.
func TestOthersObject(t *testing.T) {
	s := newStoreOn(t, unreadable{})
	mustPut(t, s, "a", []byte("x"))
	_, getErr := s.Get(t.Context(), "a", -1)
	for op, err := range map[string]error{"get": getErr, "put": s.Put(t.Context(), "a", []byte("x"))} {
		if err == nil || storage.IsPermanent(err) {
			t.Errorf("%s: %v", op, err)
		}
	}
	wantNoTemporaries(t, s)
}
