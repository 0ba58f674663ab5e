package plugin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
)

// The newest backups of a namespace. The same stream of one of them is the best
// guess at what a stream looks like; a wrong guess costs a question to the storage.
// The setup hook looks them up once and leaves them in the host's cache, for the
// hundreds of processes that follow it.
type recent struct {
	Backups []recentBackup `json:"backups"` // newest first
}

type recentBackup struct {
	Timestamp string `json:"timestamp"`
	Database  string `json:"database,omitempty"`
	// Complete: gpbackup has stored that the backup was a success.
	Complete bool `json:"complete,omitempty"`
}

const (
	maxRecent     = 16 // backups looked at
	maxPrevious   = 4  // guesses for a stream
	recentReaders = 8
)

// recentPath is the file in the host's cache, or empty.
func (s *session) recentPath() string {
	if s.config.CacheDir == "" {
		return ""
	}
	return filepath.Join(s.config.CacheDir, s.Config().IDHex, "recent-"+url.PathEscape(s.config.Namespace)+".json")
}

// refreshRecent writes the file.
func (s *session) refreshRecent(ctx context.Context) error {
	before, _ := s.loadRecent()
	now, err := s.lookRecent(ctx, before)
	if err != nil {
		return err
	}
	if before != nil && slices.Equal(before.Backups, now.Backups) {
		return nil
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	path := s.recentPath()
	// Not synced: a file that a crash left empty is none.
	f, err := os.CreateTemp(filepath.Dir(path), "tmp-recent-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (s *session) loadRecent() (*recent, error) {
	path := s.recentPath()
	if path == "" {
		return nil, fs.ErrNotExist
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &recent{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.Backups = slices.DeleteFunc(r.Backups, func(b recentBackup) bool { return !IsTimestamp(b.Timestamp) })
	return r, nil
}

// lookRecent asks the storage which backups are the newest, and for those that
// before does not know as complete whether they are.
func (s *session) lookRecent(ctx context.Context, before *recent) (*recent, error) {
	live, err := s.timestamps(ctx)
	if err != nil {
		return nil, err
	}
	slices.Reverse(live)
	r := &recent{}
	for _, ts := range live[:min(len(live), maxRecent)] {
		r.Backups = append(r.Backups, recentBackup{Timestamp: ts})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(recentReaders)
	for i := range r.Backups {
		b := &r.Backups[i]
		if before != nil {
			if k := slices.IndexFunc(before.Backups, func(x recentBackup) bool { return x.Timestamp == b.Timestamp }); k >= 0 && before.Backups[k].Complete {
				*b = before.Backups[k]
				continue
			}
		}
		g.Go(func() error { return s.describe(ctx, b) })
	}
	return r, g.Wait()
}

// maxReport bounds gpbackup's file about a backup, in bytes.
const maxReport = 16 << 20

// describe reads what gpbackup stored about a backup after everything else.
func (s *session) describe(ctx context.Context, b *recentBackup) error {
	name := repo.Name{
		Class: repo.Backup, Namespace: s.config.Namespace,
		Group: b.Timestamp, Item: "gpbackup_" + b.Timestamp + "_config.yaml",
	}
	m, err := s.Stream(ctx, name)
	if errors.Is(err, repo.ErrNoStream) || errors.Is(err, repo.ErrDeleted) || err == nil && m.Length > maxReport {
		return nil
	}
	var text bytes.Buffer
	if err == nil {
		err = s.RestoreManifest(ctx, m, &text, repo.RestoreOptions{})
	}
	if err == nil {
		b.Database, b.Complete = readBackupConfig(text.Bytes())
	} else if ctx.Err() == nil {
		// One that cannot be read must not hide the others.
		s.log.Warn("backup cannot be looked at", "timestamp", b.Timestamp, "error", err)
	}
	return ctx.Err()
}

// readBackupConfig returns what matters of a config.yaml of gpbackup's.
func readBackupConfig(text []byte) (database string, success bool) {
	var c struct {
		Database string `yaml:"databasename"`
		Status   string `yaml:"status"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return "", false
	}
	return c.Database, c.Status == "Success"
}

// previous guesses which streams hold much the same as the one of that name. An
// error means no guess.
func (s *session) previous(ctx context.Context, name repo.Name, database string) []repo.Name {
	r, err := s.loadRecent()
	if err != nil {
		live, err := s.timestamps(ctx)
		if err != nil {
			s.log.Warn("the newest backups are not known", "error", err)
			return nil
		}
		r = &recent{}
		for _, ts := range slices.Backward(live) {
			r.Backups = append(r.Backups, recentBackup{Timestamp: ts})
		}
	}
	return guess(name, database, r.Backups)
}

// guess returns the streams of the same name of at most maxPrevious other backups:
// older ones if there are any, complete ones of the same database first, the newest
// first.
func guess(name repo.Name, database string, backups []recentBackup) []repo.Name {
	older := func(b recentBackup) bool { return b.Timestamp < name.Group }
	if !slices.ContainsFunc(backups, older) {
		older = func(b recentBackup) bool { return b.Timestamp != name.Group }
	}
	var fit []recentBackup
	for _, b := range backups {
		if older(b) {
			fit = append(fit, b)
		}
	}
	class := func(b recentBackup) int {
		switch {
		case b.Complete && (database == "" || b.Database == database):
			return 0
		case b.Complete:
			return 1
		}
		return 2
	}
	slices.SortFunc(fit, func(a, b recentBackup) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), cmp.Compare(b.Timestamp, a.Timestamp))
	})
	var names []repo.Name
	for _, b := range fit[:min(len(fit), maxPrevious)] {
		n := name
		n.Group, n.Item = b.Timestamp, strings.ReplaceAll(name.Item, name.Group, b.Timestamp)
		names = append(names, n)
	}
	return names
}
