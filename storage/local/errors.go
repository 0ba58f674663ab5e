package local

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// errAbsent is what the operations use among themselves for "no such object";
// only proveAbsent turns it into storage.ErrNotExist.
var errAbsent = errors.New("no such file")

// classify turns the system's errors into those that callers decide on, and
// keeps the system's own beside them. place is the root, as the user named it.
func classify(place, op string, err error) error {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(context.Canceled, context.DeadlineExceeded):
		return err
	case is(unix.ENAMETOOLONG):
		return fmt.Errorf("%w: %w", storage.ErrInvalidKey, err)
	case op != "put" && op != "delete":
		if is(unix.EACCES) {
			return &refusal{text: err.Error(), kind: unix.EACCES, err: err, hint: "run this as a user who may read all of " + place}
		}
		return err
	case is(unix.EROFS, unix.EACCES, unix.EPERM):
		hint := "run this as a user who may write to all of " + place
		if is(unix.EROFS) {
			hint = "mount the file system of " + place + " for writing"
		}
		return &refusal{
			text: fmt.Sprintf("%s: %v: %v", place, storage.ErrReadOnly, err),
			kind: storage.ErrReadOnly, err: err, hint: hint,
		}
	// EFBIG is what a process with a limit on the size of its files gets: the
	// remedy is the same, more room.
	case is(unix.ENOSPC, unix.EDQUOT, unix.EFBIG):
		text := fmt.Sprintf("%s: %v", place, err)
		if !is(unix.ENOSPC) { // which says so itself
			text = fmt.Sprintf("%s: %v: %v", place, storage.ErrNoSpace, err)
		}
		return &refusal{
			text: text, kind: storage.ErrNoSpace, err: err,
			hint: "free space on the file system of " + place + ", or raise the quota; what was stored before is not harmed",
		}
	case op == "put" && is(unix.ENOENT):
		return fmt.Errorf("the repository's directory, or a part of it, was removed meanwhile: %w", err)
	case op == "put" && is(unix.ENOTDIR):
		return fmt.Errorf("%w: a part of it is the key of an object: %w", storage.ErrInvalidKey, err)
	}
	return err
}

// refusal is an error of the place as a whole, whatever the object: it names the
// place, and the next step.
type refusal struct {
	text, hint string
	kind, err  error
}

func (r *refusal) Error() string   { return r.text }
func (r *refusal) Hint() string    { return r.hint }
func (r *refusal) Unwrap() []error { return []error{r.kind, r.err} }

// proveAbsent decides what an absent file means. It returns
// storage.ErrNotExist if the root is still the directory that was opened, and
// another error if it was removed, moved away, or unmounted: then nothing is
// proved about the object.
func (s *Store) proveAbsent() error {
	st, err := s.sys.stat(s.path)
	if err != nil {
		return fmt.Errorf("cannot tell whether the object exists: root directory %s: %w", s.path, err)
	}
	if uint64(st.Dev) != s.dev || st.Ino != s.ino {
		return fmt.Errorf("cannot tell whether the object exists: root directory %s is no longer "+
			"the one that was opened (unmounted or replaced?)", s.path)
	}
	return storage.ErrNotExist
}

// isAbsent reports whether err says that no object has the name: nothing has it,
// a directory has it, or what should be a directory above it is an object.
func isAbsent(err error) bool {
	return errors.Is(err, errAbsent) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR)
}
