package local

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// TestNoWayToPlace: without hard links and renames that do not replace, Create
// says so.
func TestNoWayToPlace(t *testing.T) {
	_, err := create(t.TempDir(), placeless{noLink: unix.EPERM, noRename: unix.EINVAL})
	if !errors.Is(err, ErrUnsupported) || errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("create: %v", err)
	}
	// A full disk is another matter.
	_, err = create(t.TempDir(), placeless{noLink: unix.ENOSPC})
	if !errors.Is(err, storage.ErrNoSpace) || errors.Is(err, ErrUnsupported) {
		t.Errorf("create: %v", err)
	}
	// A file system that replaces without being asked to is as bad.
	if _, err = create(t.TempDir(), placeless{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("create: %v", err)
	}
	s := newStoreOn(t, placeless{noLink: unix.EOPNOTSUPP, realRename: true})
	mustPut(t, s, "a", []byte("x"))
	if !s.noLink.Load() {
		t.Error("the store does not remember that there are no hard links")
	}
}

// TestCheckWritable: a full disk is found out, and nothing is left behind.
func TestCheckWritable(t *testing.T) {
	s := newStoreOn(t, unixSystem{})
	check := func() error {
		t.Helper()
		err := s.CheckWritable(t.Context())
		if left, globErr := filepath.Glob(s.path + "/tmp/*"); globErr != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, globErr)
		}
		return err
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	s.sys = full{}
	err := check()
	want := "check that the repository can be written to: " + s.name + ": no space left on device"
	if !errors.Is(err, storage.ErrNoSpace) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if hint := (interface{ Hint() string })(nil); !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "free space") {
		t.Errorf("no hint in %v", err)
	}
}

// full is a system on a full disk.
type full struct{ unixSystem }

func (full) write(int, []byte) (int, error) { return 0, unix.ENOSPC }

// placeless fails, or claims to succeed, where files get names.
type placeless struct {
	unixSystem
	noLink, noRename error
	realRename       bool
}

func (p placeless) link(int, string, string) error { return p.noLink }

func (p placeless) rename(dir int, from, to string) error {
	if p.realRename {
		return p.unixSystem.rename(dir, from, to)
	}
	return p.noRename
}
