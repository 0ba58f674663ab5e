// Package target opens the storage that a user names.
package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/local"
)

// ErrLocation: what was given is no location that this version knows.
var ErrLocation = errors.New("not a location")

// ErrExposed: what was given for a new repository is open to everybody.
var ErrExposed = errors.New("everybody may change what is in the directory")

// Open returns the storage at location, which must exist: a directory's path.
func Open(location string) (storage.Storage, error) {
	path, err := directory(location)
	if err != nil {
		return nil, err
	}
	return local.Open(path)
}

// Create returns the storage at location for a new repository. A directory is made
// if it is missing, and refused if anything is in it, or if everybody may write in it:
// what a repository makes there would get the same permissions.
func Create(location string) (storage.Storage, error) {
	path, err := directory(location)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("%s: %w: its mode is %04o", location, ErrExposed, info.Mode().Perm())
	}
	return local.Create(path)
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:(//)?`)

func directory(location string) (string, error) {
	if location == "" {
		return "", fmt.Errorf("open repository: %w: it is empty", ErrLocation)
	}
	// Without slashes too: "s3:bucket" would be a directory of that name.
	if s := scheme.FindString(location); s != "" {
		return "", fmt.Errorf("open repository: %s: %w: this version knows directories only, not %s (a directory of that name is ./%s)",
			location, ErrLocation, s, location)
	}
	path, err := filepath.Abs(location)
	if err != nil {
		return "", fmt.Errorf("open repository: %w", err)
	}
	return path, nil
}
