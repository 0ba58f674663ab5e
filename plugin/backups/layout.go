package backups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/gpdedup/gpdedup/repo"
)

const defaultPrefix = "gpseg"

// gpbackup puts paths into shell commands and patterns without quoting anything.
// The prefix is a part of one component.
var (
	plainPath   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^/[A-Za-z0-9_./:@%+,=-]*$`) })
	plainPrefix = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.:@%+,=-]{1,100}$`) })
)

// layout is a directory in the form that gprestore --backup-dir expects.
type layout struct {
	root   string
	prefix string
}

// newLayout checks that gprestore will be able to use the directory. The prefix is
// what the user asked for, or else that of a backup that lies there, or else the
// guess, if it will do.
func newLayout(root, asked, guess string) (layout, error) {
	if !plainPath().MatchString(root) {
		return layout{}, fmt.Errorf("%w: directory %q: gprestore takes no path with blanks or other special characters", repo.ErrUsage, root)
	}
	if asked != "" && !plainPrefix().MatchString(asked) {
		return layout{}, fmt.Errorf("%w: segment prefix %q: gprestore takes letters, digits and _.-", repo.ErrUsage, asked)
	}
	there, err := filepath.Glob(filepath.Join(root, "*-1", "backups"))
	if err != nil {
		return layout{}, err
	}
	for _, path := range there {
		prefix := strings.TrimSuffix(filepath.Base(filepath.Dir(path)), "-1")
		if asked == "" {
			asked = prefix
		}
		if prefix != asked {
			return layout{}, repo.WithHint(
				fmt.Errorf("%w: %s holds a backup with segment prefix %q; gprestore refuses a directory with two", repo.ErrUsage, root, prefix),
				"export to another directory, or leave --segment-prefix out")
		}
	}
	switch {
	case asked != "":
		return layout{root, asked}, nil
	case plainPrefix().MatchString(guess):
		return layout{root, guess}, nil
	}
	return layout{root, defaultPrefix}, nil
}

// prefixOf returns the segment prefix in the path of a backup's file, or "" if
// the path has another form.
func prefixOf(path string, content int) string {
	parts := strings.Split(filepath.ToSlash(path), "/")
	n := len(parts) - 5 // <prefix><content>/backups/<date>/<timestamp>/<file>
	if n < 0 || parts[n+1] != "backups" {
		return ""
	}
	prefix, ok := strings.CutSuffix(parts[n], strconv.Itoa(content))
	if !ok {
		return ""
	}
	return prefix
}

// dir is where the files of a content id lie.
func (l layout) dir(content int, timestamp string) string {
	return filepath.Join(l.root, l.prefix+strconv.Itoa(content), "backups", timestamp[:8], timestamp)
}

// contents returns the content ids that need a directory.
func (s *survey) contents() []int {
	out := []int{Coordinator}
	if !s.config.MetadataOnly {
		for c := range s.segments {
			out = append(out, c)
		}
	}
	return out
}

// prepare makes the directories of a backup and makes sure that they are empty.
func (l layout) prepare(s *survey, overwrite bool) error {
	single := filepath.Join(l.root, "backups", s.timestamp[:8], s.timestamp)
	if _, err := os.Lstat(single); err == nil {
		return fmt.Errorf("%s is in the way: gprestore would take it for the backup", single)
	}
	for _, c := range s.contents() {
		dir := l.dir(c, s.timestamp)
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(entries) > 0 && !overwrite {
			return repo.WithHint(fmt.Errorf("%s is not empty", dir), "--overwrite replaces what is there")
		}
	}
	for _, c := range s.contents() {
		dir := l.dir(c, s.timestamp)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := clearDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// clearDir removes the files of an earlier export: gprestore counts files, and what
// is left of another one must not be mixed with this. The coordinator's directory
// goes first, so that there is no config.yaml beside files that are going.
// Whatever else somebody put there, like reports of restores, stays.
func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), "gpbackup_") && !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// emptySegments writes what gprestore counts on each segment of a backup that has
// a single data file but no data: gpbackup itself writes nothing then (an
// incremental backup without changes), and gprestore would refuse that.
func (l layout) emptySegments(s *survey) error {
	if !s.config.SingleDataFile || s.config.MetadataOnly || s.hasData() {
		return nil
	}
	for c := range s.segments {
		dir := l.dir(c, s.timestamp)
		data := File{Kind: SegmentData, Content: c, Extension: s.config.Extension()}
		toc := File{Kind: SegmentTOCFile, Content: c}
		if err := writeFile(filepath.Join(dir, data.Name(s.timestamp)), data.Kind, nil); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, toc.Name(s.timestamp)), toc.Kind, []byte("dataentries: {}\n")); err != nil {
			return err
		}
	}
	return nil
}

// sync makes the names of a backup's files durable, and those of the directories
// above them.
func (l layout) sync(s *survey) error {
	done := make(map[string]bool)
	for _, c := range s.contents() {
		for dir := l.dir(c, s.timestamp); !done[dir]; dir = filepath.Dir(dir) {
			done[dir] = true
			if err := syncDir(dir); err != nil {
				return err
			}
			if dir == l.root {
				break
			}
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
