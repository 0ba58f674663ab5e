package wal

import (
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/repo"
)

// What wal fetch ends with instead of other failures. A server in recovery takes every
// status up to 125 for the end of the WAL and begins a life of its own there; above
// that it stops, and goes on where it was when it is started again.
const (
	ExitUndecided = 200 // nothing is proved: repository away, configuration, usage, no room
	ExitCorrupt   = 201
	ExitHole      = 202 // absent, but what comes after it is there
	ExitForeign   = 203
	ExitBroken    = 204 // the program itself failed
)

// ErrHole: a file is absent that the archive must have had. Always a *HoleError.
var ErrHole = errors.New("is missing from the archive")

// HoleError says how it is known that a file that is absent must have been there.
type HoleError struct {
	Name Name
	Why  string
	hint string
}

func (e *HoleError) Error() string { return fmt.Sprintf("%s %v: %s", e.Name, ErrHole, e.Why) }

// Is makes errors.Is(err, ErrHole) true.
func (e *HoleError) Is(target error) bool { return target == ErrHole }

// Hint returns the next step.
func (e *HoleError) Hint() string { return e.hint }

// EndError says that a file is not in the archive and that nothing speaks against
// this being the end of the WAL. Only Fetch.Run makes it, after it proved all that.
type EndError struct{ Name Name }

func (e *EndError) Error() string { return fmt.Sprintf("%s %v", e.Name, ErrAbsent) }

// Is makes errors.Is(err, ErrAbsent) true.
func (e *EndError) Is(target error) bool { return target == ErrAbsent }

// FetchExit returns what wal fetch ends with that failed with err: 1 for an EndError
// and nothing else, else one of the codes above.
func FetchExit(err error) int {
	var end *EndError
	switch {
	case errors.As(err, &end):
		return 1
	case errors.Is(err, ErrHole):
		return ExitHole
	case errors.Is(err, ErrForeign):
		return ExitForeign
	case errors.Is(err, repo.ErrNewer): // this version cannot tell damage in it
		return ExitUndecided
	case errors.Is(err, repo.ErrDamaged):
		return ExitCorrupt
	}
	return ExitUndecided
}
