package wal

import (
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/repo"
)

// Errors that callers decide on, tested with errors.Is. Damage is repo.ErrDamaged.
var (
	// ErrAbsent: it is proved that the file is not in the archive.
	ErrAbsent = errors.New("not in the archive")
	// ErrForeign: the file, or what asks for it, belongs to another cluster. Always a
	// *ForeignError or an *EpochError.
	ErrForeign = errors.New("belongs to another cluster")
	// ErrConflict: a file of the same name but other bytes is in the archive. Always a
	// *ConflictError; repo.ErrConflict too.
	ErrConflict = errors.New("is in the archive already with other content")
)

// ForeignError says that a file is of another cluster than it should be.
type ForeignError struct {
	File      Name
	Got, Want SystemID
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s %v: its system identifier is %s, not %s", e.File, ErrForeign, e.Got.Decimal(), e.Want.Decimal())
}

// Is makes errors.Is true for ErrForeign and, as what it is to a user, repo.ErrConflict.
func (e *ForeignError) Is(target error) bool {
	return target == ErrForeign || target == repo.ErrConflict
}

// Hint returns the next step.
func (e *ForeignError) Hint() string {
	return "was the file copied from another cluster? It must not get into this one's archive"
}

// EpochError says that an archive holds the WAL of other clusters.
type EpochError struct {
	Namespace, Content string
	System             SystemID
	Have               []SystemID
}

func (e *EpochError) Error() string {
	have := ""
	for i, id := range e.Have {
		if i > 0 {
			have += ", "
		}
		have += id.Decimal()
	}
	return fmt.Sprintf("namespace %q, content %s, holds the WAL of another cluster: system identifier %s, this one's is %s",
		e.Namespace, e.Content, have, e.System.Decimal())
}

// Is makes errors.Is true for ErrForeign and, as what it is to a user, repo.ErrConflict.
func (e *EpochError) Is(target error) bool { return target == ErrForeign || target == repo.ErrConflict }

// Hint returns the next step.
func (e *EpochError) Hint() string {
	return "give each cluster its own --namespace; if this one took the old one's place (initdb, pg_upgrade), run archive_command once by hand with --new-epoch"
}

// ConflictError names both of the files that want the same name.
type ConflictError struct {
	Stored, Incoming Info
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s %v: stored is %s from %s; refused is %s from %s",
		e.Incoming.Name, ErrConflict, identity(&e.Stored), e.Stored.Origin, identity(&e.Incoming), e.Incoming.Origin)
}

func identity(i *Info) string {
	return fmt.Sprintf("%s (%d bytes, system %s)", i.Hash.Short(), i.Length, i.System.Decimal())
}

// Is makes errors.Is true for ErrConflict and repo.ErrConflict.
func (e *ConflictError) Is(target error) bool {
	return target == ErrConflict || target == repo.ErrConflict
}

// Hint returns the next step.
func (e *ConflictError) Hint() string {
	return "two servers write the same timeline: a standby or a restored copy that was started without recovery, or a clone that archives " +
		"under its origin's --namespace. Stop it, or give it a namespace of its own"
}
