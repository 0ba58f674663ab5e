package wal

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// records say which files were pushed before the server asked for them. They are a
// matter of speed only: without one, a file is packed, and found to be there.
type records struct {
	dir string
	wal string // the files' directory

	claims claims // who pushes what at the moment
}

// openRecords returns the records for files in the directory, or nil if there is no
// place for them.
func (p *Pusher) openRecords(walDir string) *records {
	if p.Records == "" {
		return nil
	}
	abs, err := filepath.Abs(walDir)
	if err != nil {
		return nil
	}
	// A record counts for one directory, one repository, one archive.
	whose := digest.Sum([]byte(strings.Join([]string{p.Storage.Location(), p.Namespace, p.Content, abs}, "\x00")))
	dir := filepath.Join(p.Records, whose.String()[:32])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil
	}
	if !quick.Owned(dir) {
		return nil
	}
	return &records{dir: dir, wal: walDir}
}

// openClaims opens the claims, which need not be done for a file that there is a record of.
func (r *records) openClaims() { r.claims = openClaims(r.dir + ".claims") }

// confirmed reports whether the file was pushed already: there is a record of the very
// file, and its object is there.
func (r *records) confirmed(ctx context.Context, p *Pusher, path string, name Name) bool {
	return r != nil && quick.Confirmed(filepath.Join(r.dir, name.String()), path, func(key string) (int64, error) {
		object, err := p.Storage.Stat(ctx, key)
		return object.Size, err
	})
}

// note records that a file was pushed. It need not survive a crash.
func (r *records) note(name Name, what *quick.Record) error {
	return what.Write(filepath.Join(r.dir, name.String()))
}

// known reports whether there is a record of the name.
func (r *records) known(name Name) bool {
	_, err := os.Stat(filepath.Join(r.dir, name.String()))
	return err == nil
}

// canBeMade reports whether records can be made: the disk may be full, or another user's.
func (r *records) canBeMade() bool {
	probe := filepath.Join(r.dir, "probe."+strconv.Itoa(os.Getpid()))
	err := os.WriteFile(probe, []byte("records can be made\n"), 0o600)
	_ = os.Remove(probe)
	return err == nil
}

// tidy removes records of files that the server does not want to have archived (any
// more).
func (r *records) tidy(wanted []Name) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name, err := ParseName(e.Name())
		if err != nil || !slices.Contains(wanted, name) {
			_ = os.Remove(filepath.Join(r.dir, e.Name()))
		}
	}
}
