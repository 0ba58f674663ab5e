// Package target opens the storage that a user names.
package target

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/local"
)

// ErrLocation: what was given is no location that this version knows.
var ErrLocation = errors.New("not a location")

// Open returns the storage at location, which must exist: a directory's path.
func Open(location string) (storage.Storage, error) {
	path, err := directory(location)
	if err != nil {
		return nil, err
	}
	return local.Open(path)
}

// Create returns the storage at location for a new repository. A directory is made
// if it is missing, and refused if anything is in it.
func Create(location string) (storage.Storage, error) {
	path, err := directory(location)
	if err != nil {
		return nil, err
	}
	return local.Create(path)
}

func directory(location string) (string, error) {
	if location == "" {
		return "", fmt.Errorf("open repository: %w: it is empty", ErrLocation)
	}
	if scheme, _, ok := strings.Cut(location, "://"); ok {
		return "", fmt.Errorf("open repository: %s: %w: this version knows directories only, not %s://", location, ErrLocation, scheme)
	}
	path, err := filepath.Abs(location)
	if err != nil {
		return "", fmt.Errorf("open repository: %w", err)
	}
	return path, nil
}
