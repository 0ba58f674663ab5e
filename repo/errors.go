package repo

import (
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// Errors that callers decide on, tested with errors.Is.
var (
	// ErrNotRepository: nothing was initialised there.
	ErrNotRepository = errors.New("no gpdedup repository")
	// ErrWrongKey: the key or password opens no slot of the repository.
	ErrWrongKey = errors.New("wrong key")
	// ErrNoStream: no stream of that name is stored.
	ErrNoStream = errors.New("not in the repository")
	// ErrConflict: the name holds other content. Always a *ConflictError.
	ErrConflict = errors.New("stored already with other content")
	// ErrDeleted: the backup that the name belongs to is deleted.
	ErrDeleted = errors.New("the backup is deleted")
	// ErrUsage: what was asked for cannot be meant.
	ErrUsage = errors.New("usage")
	// ErrDamaged: stored bytes are not what was written. An object that a manifest
	// needs and that is gone counts as damage.
	ErrDamaged = seal.ErrDamaged
	// ErrNewer: written in a format that this version does not know.
	ErrNewer = seal.ErrNewer
)

// ConflictError says who stored what under a name before.
type ConflictError struct {
	Name     Name
	Stored   manifest.Origin
	Incoming manifest.Origin
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%v: stored from %s; refused from %s", ErrConflict, e.Stored, e.Incoming)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Hint returns the next step.
func (e *ConflictError) Hint() string {
	return "two clusters that share a repository need different namespaces"
}

// hintError carries the next step for the user beside the cause.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }
func (e *hintError) Hint() string  { return e.hint }

// WithHint adds the next step for the user to err.
func WithHint(err error, hint string) error { return &hintError{err, hint} }

// Hint returns the next step that an error on the chain of err knows, or "".
func Hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
