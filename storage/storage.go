// Package storage says what a repository needs of the place that keeps its
// objects, and nothing more: write once, read a range, ask, list, delete.
//
// Keys are slash-separated paths below the repository's root. Each component is
// non-empty, is neither "." nor "..", and consists of [A-Za-z0-9._%-] only:
// callers percent-encode names before they build keys.
//
// What callers may assume of every implementation:
//
//   - Durable: when Put or Delete returns nil, its effect survives a crash of the
//     machine (the file and the directories that lead to it are synced).
//   - Atomic: an object is visible whole or not at all. A crashed Put leaves no
//     object, at most a temporary that no listing shows.
//   - Write-once: Put never replaces. Of several concurrent Puts of different
//     bytes to one key exactly one succeeds.
//   - Strongly consistent: what a finished Put wrote, every later Read, Stat and
//     List, by any process on any host, sees; what a finished Delete removed, none
//     sees. A List that runs beside Puts and Deletes shows each object that
//     existed during the whole of it.
//   - Idempotent retries: Put of the same bytes to the same key again succeeds
//     (so an acknowledgement that was lost is no conflict); Delete of an absent
//     key succeeds.
//   - Honest errors: ErrNotExist means that the key is proved absent.
//     Everything that might pass when tried again is another error.
package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors that callers decide on, tested with errors.Is. They are permanent: a
// retry gives the same answer.
var (
	// ErrNotExist: the key is proved absent.
	ErrNotExist = errors.New("object does not exist")
	// ErrExists: Put found an object with other bytes under the key.
	ErrExists = errors.New("object exists with other content")
	// ErrShort: Read asked for bytes beyond the end of the object.
	ErrShort = errors.New("object is shorter than expected")
	// ErrInvalidKey: the key is not of the form that the package comment gives.
	ErrInvalidKey = errors.New("invalid key")
	// ErrReadOnly: the storage refuses writes (permission, read-only mount).
	ErrReadOnly = errors.New("storage is read-only")
	// ErrNoSpace: the storage is full, or a quota is reached.
	ErrNoSpace = errors.New("no space left")
	// ErrDenied: the storage refuses what was asked, whoever asks again.
	ErrDenied = errors.New("the storage refuses")
	// ErrNoPlace: what should hold the objects, a bucket, is not there.
	ErrNoPlace = errors.New("no such place")
)

// Info describes a stored object. ModTime is the storage's own clock at the time
// the object was written; it is for people and for retention, never for safety.
type Info struct {
	Key     string
	Size    int64
	ModTime time.Time
}

// Child is an immediate descendant of a prefix: an object, or a "directory", that
// is, a prefix of further keys.
type Child struct {
	Name string // one path component
	Dir  bool
}

// Storage keeps objects. All methods are safe for concurrent use and stop early,
// with the context's error, when the context ends. The package comment says what
// an implementation owes its callers.
type Storage interface {
	// Put stores data under key unless an object is there already. The same
	// bytes under the same key are a success; other bytes are ErrExists. When the
	// context has ended before the object became visible, it never becomes
	// visible. Put does not keep or change data.
	Put(ctx context.Context, key string, data []byte) error

	// Read fills dst with the object's bytes from offset on. A negative offset
	// counts from the object's end. Fewer than len(dst) bytes are ErrShort.
	Read(ctx context.Context, key string, offset int64, dst []byte) error

	// Get returns the whole object, which the caller then owns. An object
	// longer than limit bytes is an error; limit < 0 sets none.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)

	// Stat returns the object's description.
	Stat(ctx context.Context, key string) (Info, error)

	// List calls fn for every object whose key begins with prefix, which ends in
	// "/" or is empty, in no particular order. An error of fn ends the listing
	// and is returned. A prefix under which nothing lies is an empty listing.
	List(ctx context.Context, prefix string, fn func(Info) error) error

	// Children lists the immediate descendants of prefix, which ends in "/" or is
	// empty, sorted by name. A directory without any object may be listed.
	Children(ctx context.Context, prefix string) ([]Child, error)

	// Delete removes the object. An absent key is a success.
	Delete(ctx context.Context, key string) error

	// Location is the place as the user names it, for messages.
	Location() string

	// Close releases what the storage holds on this machine.
	Close() error
}

// Error wraps what went wrong with the operation and the key.
type Error struct {
	Op  string // "put", "read", "get", "stat", "list", "delete"
	Key string
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Key, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CheckKey returns ErrInvalidKey, wrapped, unless key has the form that the
// package comment gives.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: empty", ErrInvalidKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%w: %q", ErrInvalidKey, key)
		}
		for i := range len(part) {
			c := part[i]
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
				c == '.', c == '_', c == '-', c == '%':
			default:
				return fmt.Errorf("%w: %q", ErrInvalidKey, key)
			}
		}
	}
	return nil
}
