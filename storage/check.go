package storage

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTooLong: Get found an object longer than the limit it was given. Like the
// other sentinels it is permanent, because objects never change.
var ErrTooLong = errors.New("object is longer than the limit")

// CheckPrefix returns ErrInvalidKey, wrapped, unless prefix is empty or a key
// followed by one "/": what List and Children take.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	key, ok := strings.CutSuffix(prefix, "/")
	if !ok {
		return fmt.Errorf(`%w: prefix %q does not end in "/"`, ErrInvalidKey, prefix)
	}
	return CheckKey(key)
}
