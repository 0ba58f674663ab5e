package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// replacement is a file that appears, or replaces one that was there, only when it is whole.
type replacement struct {
	command string // whose errors these are
	path    string
	mode    fs.FileMode // less the umask
}

// replace returns the file that output names. instead says what to do if it cannot be replaced.
func replace(command, output, instead string) (*replacement, error) {
	path, err := filepath.EvalSymlinks(output)
	if errors.Is(err, fs.ErrNotExist) {
		return &replacement{command, output, 0o666}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	if !info.Mode().IsRegular() {
		return nil, usageError(fmt.Sprintf("%s: %s: not a regular file, so it cannot be replaced", command, output), instead)
	}
	return &replacement{command, path, info.Mode().Perm()}, nil
}

// write makes the file of what content writes, beside the one that it is to become, and
// returns how long it is. The errors of content are returned as they are.
func (r *replacement) write(content func(io.Writer) error) (size int64, err error) {
	temporary := r.path + ".gpdedup-" + rand.Text()[:8]
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, r.mode)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.command, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // what it holds is not wanted
			_ = os.Remove(temporary)
		}
	}()
	if err = content(f); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	// The name must not outlive a crash that the bytes do not.
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, fmt.Errorf("%s: %w", r.command, err)
	}
	if err = os.Rename(temporary, r.path); err != nil {
		return 0, fmt.Errorf("%s: %w", r.command, err)
	}
	if err = syncDir(filepath.Dir(r.path)); err != nil {
		return 0, fmt.Errorf("%s: %w", r.command, err)
	}
	return info.Size(), nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
