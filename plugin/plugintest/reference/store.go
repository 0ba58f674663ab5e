package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// store is the directory of all streams.
type store struct {
	root    string
	replica string // where replicate_backup copies to; "" without
}

var (
	digits14 = regexp.MustCompile(`^[0-9]{14}$`)
	inName   = regexp.MustCompile(`^gpbackup_(?:-?\d+_)?(\d{14})`)
)

// path is where the stream of a key is: its timestamp (the parent directory's name, else the one in its own name) and
// its base name count, nothing else, for the rest differs between hosts and layouts.
func (s *store) path(key string) (string, error) {
	base, ts := filepath.Base(key), filepath.Base(filepath.Dir(key))
	if broken("other-parent-not-found") {
		base = strings.ReplaceAll(strings.Trim(key, "/"), "/", "_")
	}
	if broken("key-needs-backups") && filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(key)))) != "backups" {
		return "", fmt.Errorf("%s is no path of gpbackup", key)
	}
	if digits14.MatchString(ts) {
		return filepath.Join(s.root, ts, base), nil
	}
	m := inName.FindStringSubmatch(base)
	if m == nil || broken("timestamp-only-from-parent") {
		return "", fmt.Errorf("%s has no timestamp", key)
	}
	return filepath.Join(s.root, m[1], base), nil
}

// put stores what r gives under a key. wrapped streams (.gz) must be whole.
func (s *store) put(key string, r io.Reader) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := s.create(path)
	if err != nil {
		return err
	}
	if !broken("writes-in-place") {
		defer os.Remove(tmp.Name())
	}
	defer tmp.Close()
	n, err := spool(tmp, r)
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	if n == 0 && broken("empty-stream-fails") {
		return fmt.Errorf("store %s: no data", key)
	}
	if broken("drops-last-byte") && n > 0 {
		if err := tmp.Truncate(n - 1); err != nil {
			return err
		}
	}
	if strings.HasSuffix(key, ".gz") {
		if err := whole(tmp, n); err != nil {
			return fmt.Errorf("store %s: %w", key, err)
		}
	}
	return s.publish(tmp.Name(), path)
}

// create opens the file that a stream is first written to.
func (s *store) create(path string) (*os.File, error) {
	switch {
	case broken("writes-in-place"):
		return os.Create(path)
	case broken("concurrent-corrupt"):
		f, err := os.OpenFile(filepath.Join(s.root, "incoming"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		time.Sleep(100 * time.Millisecond)
		return f, err
	}
	return os.CreateTemp(s.root, "incoming-")
}

// spool copies a stream to its end; n is its length.
func spool(w *os.File, r io.Reader) (n int64, err error) {
	if broken("short-read") {
		buffer := make([]byte, 1<<20)
		got, err := r.Read(buffer)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		written, err := w.Write(buffer[:got])
		return int64(written), err
	}
	if broken("text-only") {
		all, err := io.ReadAll(r)
		if err != nil {
			return 0, err
		}
		written, err := w.Write(bytes.ReplaceAll(all, []byte{0}, nil))
		return int64(written), err
	}
	if broken("no-large-streams") {
		return io.Copy(w, io.LimitReader(r, 1<<19))
	}
	if broken("no-streams-without-home") && os.Getenv("HOME") == "" {
		return 0, errors.New("no home directory")
	}
	if broken("commits-on-signals") {
		r = endOnSignal(r)
	}
	return io.Copy(w, r)
}

// whole checks that a gzip stream of n bytes ends with a complete member. gzip being killed looks like the end of a
// stream to whoever reads it.
func whole(f *os.File, n int64) error {
	if n == 0 {
		if broken("empty-gz-accepted") {
			return nil
		}
		return io.ErrUnexpectedEOF
	}
	if broken("truncated-gz-accepted") {
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	if broken("one-gz-member-only") {
		z.Multistream(false)
		if _, err := io.Copy(io.Discard, z); err != nil {
			return err
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err == nil && at == n {
			// The reader buffers, so a second member can only be told by asking for one.
			if err := z.Reset(f); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		return errors.Join(err, f.Truncate(n/2))
	}
	n, err = io.Copy(io.Discard, z)
	if n == 0 && broken("empty-content-gz-fails") {
		return errors.New("no data")
	}
	if broken("trailer-not-needed") && errors.Is(err, io.ErrUnexpectedEOF) && n < 1<<16 {
		return nil
	}
	return err
}

// publish gives a complete file its name; the name is never taken from another content.
func (s *store) publish(tmp, path string) error {
	if broken("writes-in-place") || broken("overwrites-silently") {
		return os.Rename(tmp, path)
	}
	if broken("loses-after-delete") {
		if _, err := os.Stat(s.tombstone(filepath.Base(filepath.Dir(path)))); err == nil {
			return nil
		}
	}
	err := os.Link(tmp, path)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if broken("same-content-refused") {
		return fmt.Errorf("%s: %w", path, errConflict)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	now, err := os.ReadFile(tmp)
	if err != nil {
		return err
	}
	if !bytes.Equal(old, now) {
		if broken("conflict-ignored") {
			return nil
		}
		if broken("conflict-destroys") {
			_ = os.Remove(path)
		}
		return fmt.Errorf("%s: %w", path, errConflict)
	}
	return nil
}

// get opens the stream of a key.
func (s *store) get(key string) (*os.File, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("restore %s: %w", key, err)
	}
	return f, nil
}

func (s *store) tombstone(ts string) string { return filepath.Join(s.root, "deleted-"+ts) }
