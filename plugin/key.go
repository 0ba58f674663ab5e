package plugin

import (
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

var inName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`gpbackup_([0-9]+_)?([0-9]{14})([^0-9]|$)`) })

// IsTimestamp reports whether s can be a backup's timestamp: 14 digits, never read as
// a date, for gpbackup's own tests use some that are none.
func IsTimestamp(s string) bool { return backups.ValidTimestamp(s) }

// StreamName returns the name of the stream that gpbackup means by a path. The
// directories are those of some cluster or other, so only the base name and the
// timestamp count: the name of the file's directory, or, where that is none, what
// the base name says.
func StreamName(namespace, file string) (repo.Name, error) {
	clean := path.Clean(file)
	n := repo.Name{Class: repo.Backup, Namespace: namespace, Item: path.Base(clean)}
	if file == "" || strings.HasSuffix(file, "/") || n.Item == "." || n.Item == ".." || n.Item == "/" {
		return repo.Name{}, usagef("path %q names no file", file)
	}
	if n.Group = path.Base(path.Dir(clean)); !IsTimestamp(n.Group) {
		m := inName().FindStringSubmatch(n.Item)
		if m == nil {
			return repo.Name{}, usagef("path %s: neither its directory nor its name says which timestamp it belongs to", file)
		}
		n.Group = m[2]
	}
	if err := n.Validate(); err != nil {
		return repo.Name{}, err
	}
	return n, nil
}

// directoryTimestamp returns the timestamp that a backup's directory is named for.
func directoryTimestamp(dir string) (string, error) {
	if ts := path.Base(path.Clean(dir)); IsTimestamp(ts) {
		return ts, nil
	}
	return "", usagef("directory %s: its name is not a timestamp of 14 digits", dir)
}
