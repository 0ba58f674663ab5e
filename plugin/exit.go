package plugin

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/target"
)

// The exit codes of the program.
const (
	ExitFailed     = 1
	ExitUsage      = 2 // usage or configuration
	ExitConflict   = 3 // the name holds other content, or its timestamp is deleted
	ExitDamaged    = 4
	ExitRepository = 5 // not found, not initialised, wrong key, unknown format
)

// ExitCode returns what a process ends with that failed with err.
//
// An error may match several. A format that is too new comes first, because this
// version cannot tell damage in it; what was asked comes before what was found.
func ExitCode(err error) int {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return 0
	case is(repo.ErrNewer):
		return ExitRepository
	case is(repo.ErrUsage, target.ErrLocation):
		return ExitUsage
	case is(repo.ErrNotRepository, repo.ErrWrongKey, storage.ErrNoPlace):
		return ExitRepository
	case is(repo.ErrConflict, repo.ErrDeleted):
		return ExitConflict
	case is(repo.ErrDamaged):
		return ExitDamaged
	}
	return ExitFailed
}

// Report writes err the way every error is reported: one line, and one more with
// the next step if there is one.
func Report(w io.Writer, err error) {
	text := "gpdedup: " + oneLine(err.Error()) + "\n"
	if hint := repo.Hint(err); hint != "" {
		text += "hint: " + oneLine(hint) + "\n"
	}
	// One write, so that the lines of processes that share a pipe stay together.
	_, _ = io.WriteString(w, text) // there is nobody else to tell
}

// maxLine bounds a line in bytes. The server reads standard error only when the
// data is through, and a pipe holds 64 KiB.
const maxLine = 8 << 10

// oneLine joins the lines that errors.Join makes, and keeps control characters
// that come from names off the terminal.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) { // those above 0x7f begin sequences, too
			return '?'
		}
		return r
	}, s)
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	return s
}

// usageError is an error that the caller can only mend by asking otherwise. It is
// repo.ErrUsage without that word in the text.
type usageError struct {
	text string
	err  error // cause, or nil
}

func usagef(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &usageError{err.Error(), errors.Unwrap(err)}
}

func (e *usageError) Error() string        { return e.text }
func (e *usageError) Unwrap() error        { return e.err }
func (e *usageError) Is(target error) bool { return target == repo.ErrUsage }

// Usage returns an error with the text of err that ends the process as wrong usage.
func Usage(err error) error { return &usageError{err.Error(), err} }
