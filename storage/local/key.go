package local

import (
	"fmt"
	"path"
	"strings"

	"github.com/gpdedup/gpdedup/storage"
)

// checkKey is storage.CheckKey without the names that this kind of storage keeps
// for itself.
func checkKey(key string) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	first, rest, more := strings.Cut(key, "/")
	bad := first == tmpDir || isForeign("", first)
	for more && !bad {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		bad = isForeign(" ", name)
	}
	if bad {
		return fmt.Errorf("%w: %q is reserved in a directory", storage.ErrInvalidKey, key)
	}
	return nil
}

// checkPrefix is checkKey for what List and Children take.
func checkPrefix(prefix string) error {
	if err := storage.CheckPrefix(prefix); err != nil || prefix == "" {
		return err
	}
	return checkKey(strings.TrimSuffix(prefix, "/"))
}

// isForeign reports whether an entry called name in the directory dir (empty:
// the root) belongs to the file system and not to the repository.
func isForeign(dir, name string) bool {
	if dir == "" && (name == "lost+found" || name == ".snapshot") {
		return true
	}
	// A file that was removed while somebody had it open lives on under such a
	// name until it is closed. Listing it would show an object that was deleted.
	for _, prefix := range []string{".nfs", ".fuse_hidden"} {
		if id, ok := strings.CutPrefix(name, prefix); ok && len(id) >= 16 && isHex(id) {
			return true
		}
	}
	return false
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// isObjectName reports whether List and Children show the entry name of dir.
// What cannot be part of a key is not the repository's.
func isObjectName(dir, name string) bool {
	return storage.CheckKey(name) == nil && !isForeign(dir, name) && (dir != "" || name != tmpDir)
}

// parent is the directory that a key lies in, "." for the root.
func parent(key string) string { return path.Dir(key) }
