package repo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/storage"
)

// opening is what a process reads to open a repository: config, key slot, the names
// of features. On a storage where every request costs, what the last process on this
// host read will do, for a while.
//
// None of it needs to be believed. Config and key slot are authenticated with the
// key at hand, so the worst that a file of the cache can be is old; and what makes
// old ones dangerous is noticed:
//
//   - the key opens nothing, or nothing is whole: all is read again from the storage;
//   - another repository has been made at the place: a writer must not acknowledge a
//     stream that is sealed for the one before. It looks at gc/ last of all, and there
//     lies a mark with the repository's id (markKey). Without it the config is read
//     again ([Repo.confirm]);
//   - a reader finds nothing, or nothing that opens: then, too, config is read again;
//   - a feature has been added: objects that need it say so themselves, and setup
//     hooks read everything anew.
type opening struct {
	storage.Storage
	path string // of the file; "": none
	kept keptOpening
	file bool // kept came from the file; else it is of this process
	used bool // something came from the file
	new  bool // something came from the storage
}

// keptOpening is the file.
type keptOpening struct {
	Time     time.Time                  `json:"time"`
	Objects  map[string][]byte          `json:"objects"`
	Children map[string][]storage.Child `json:"children"`
}

// openingAge is how long the file is good for: as long as a feature that was added
// may go unnoticed by writers.
const openingAge = time.Hour

// placed is a storage where requests cost enough to be saved.
type placed interface{ Place() string }

// newOpening returns an opening that begins with what the file has, if it may.
func newOpening(st storage.Storage, o Options, now time.Time, log *slog.Logger) *opening {
	p := &opening{Storage: st}
	p.forget()
	at, ok := storage.As[placed](st)
	if !ok || o.CacheDir == "" {
		return p
	}
	p.path = filepath.Join(o.CacheDir, "opened-"+digest.Sum([]byte(at.Place())).String()[:32]+".json")
	if !o.Reuse {
		return p
	}
	data, err := readPrivate(p.path)
	var kept keptOpening
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	age := now.Sub(kept.Time)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		log.Warn("what was read to open the repository cannot be used again", "file", p.path, "error", err)
	case age >= 0 && age < openingAge && kept.Objects != nil && kept.Children != nil:
		p.kept, p.file = kept, true
	}
	return p
}

// forget drops what the file had.
func (p *opening) forget() {
	p.kept = keptOpening{Objects: make(map[string][]byte), Children: make(map[string][]storage.Child)}
	p.file, p.used = false, false
}

// Get answers with what the file has or was read before, else from the storage.
func (p *opening) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if object, ok := p.kept.Objects[key]; ok {
		p.used = p.file
		return bytes.Clone(object), nil
	}
	object, err := p.Storage.Get(ctx, key, limit)
	if err == nil {
		p.kept.Objects[key] = bytes.Clone(object)
		p.new = true
	}
	return object, err
}

// Children likewise.
func (p *opening) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	if children, ok := p.kept.Children[prefix]; ok {
		p.used = p.file
		return children, nil
	}
	children, err := p.Storage.Children(ctx, prefix)
	if err == nil {
		p.kept.Children[prefix] = children
		p.new = true
	}
	return children, err
}

// keep writes the file, if there is anything new to write. Its age is that of the
// oldest part.
func (p *opening) keep(now time.Time) error {
	if p.path == "" || !p.new {
		return nil
	}
	if !p.used || p.kept.Time.IsZero() {
		p.kept.Time = now
	}
	data, err := json.Marshal(p.kept)
	if err != nil {
		return fmt.Errorf("keep config: %w", err)
	}
	dir := filepath.Dir(p.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep config: %w", err)
	}
	if err := checkPrivate(dir); err != nil {
		return fmt.Errorf("keep config: %w", err)
	}
	// Renamed into place, so that hundreds of processes see it whole. It need not
	// survive a crash.
	f, err := os.CreateTemp(dir, "opened-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("keep config: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), p.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("keep config: %w", err)
	}
	return nil
}

// drop removes the file.
func (p *opening) drop() {
	if p.path != "" {
		_ = os.Remove(p.path) // a file that stays is found out again
	}
}

// readPrivate reads a file of a directory that only this user can change.
func readPrivate(path string) ([]byte, error) {
	if err := checkPrivate(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func checkPrivate(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others can change %s", dir)
	}
	return nil
}

// markPrefix begins the key of the mark that init puts beside what every writer
// lists last: which repository this is.
const markPrefix = "gc/repository/"

func markKey(id digest.ID) string { return markPrefix + id.String() }

// ErrReplaced: another repository has been made at the place since this host last
// looked.
var ErrReplaced = errors.New("another repository has been made there meanwhile")

// confirm makes sure that the config that was used is still the storage's. It asks
// only once, and only if the config came from the host's cache.
func (r *Repo) confirm(ctx context.Context) error {
	r.mu.Lock()
	opened, object := r.opened, r.configObject
	r.mu.Unlock()
	if opened == nil || !opened.used {
		return nil
	}
	now, err := r.st.Get(ctx, configKey, configLimit)
	if err == nil && bytes.Equal(now, object) {
		r.mu.Lock()
		r.opened = nil
		r.mu.Unlock()
		return nil
	}
	if err != nil && !errors.Is(err, storage.ErrNotExist) {
		return fmt.Errorf("read config again: %w", err)
	}
	opened.drop()
	return WithHint(fmt.Errorf("%s: %w: %w", r.st.Location(), ErrNotRepository, ErrReplaced),
		"run it again: this host has now forgotten the repository that was there before")
}

// confirmMark is confirm for who has just listed gc/, and saw the marks of these
// repositories there.
func (r *Repo) confirmMark(ctx context.Context, marks []string) error {
	if len(marks) == 1 && marks[0] == r.config.IDHex {
		return nil
	}
	return r.confirm(ctx)
}
