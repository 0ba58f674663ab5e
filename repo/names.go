package repo

import (
	"fmt"
	"strconv"
	"strings"
)

// Class is the kind of thing that a stream belongs to.
type Class string

// The classes of streams.
const (
	Backup Class = "gp"     // a file of a gpbackup timestamp
	Named  Class = "stream" // a version of a named stream
	Base   Class = "base"   // a PostgreSQL base backup
)

// Name names one stream. For Backup, Group is the timestamp and Item the file's
// base name; for Named, Group is the stream's name and Item the version; for Base,
// Group is the content id and Item the label.
type Name struct {
	Class     Class
	Namespace string
	Group     string
	Item      string
}

func (n Name) String() string {
	if n.Class == Named {
		return n.Group + "@" + n.Item
	}
	return n.Group + "/" + n.Item
}

// maxName bounds each part of a name, in bytes as it is stored.
const maxName = 200

// Validate refuses names that cannot be stored.
func (n Name) Validate() error {
	for what, s := range map[string]string{"namespace": n.Namespace, "group": n.Group, "name": n.Item} {
		if err := validatePart(what, s); err != nil {
			return err
		}
	}
	return nil
}

func validatePart(what, s string) error {
	if s == "" || s == "." || s == ".." {
		return fmt.Errorf("%w: %s %q is not allowed", ErrUsage, what, s)
	}
	if n := len(escape(s)); n > maxName {
		return fmt.Errorf("%w: %s %.40q… takes %d bytes; at most %d are allowed", ErrUsage, what, s, n, maxName)
	}
	return nil
}

const manifestPrefix = "manifests/"

// Key returns the key of the stream's manifest.
func (n Name) Key() string { return n.groupKey() + escape(n.Item) }

func (n Name) groupKey() string {
	return manifestPrefix + string(n.Class) + "/" + escape(n.Namespace) + "/" + escape(n.Group) + "/"
}

const (
	gcPrefix        = "gc/"
	tombstonePrefix = "gc/deleted/"
	condemnedPrefix = "gc/condemned/"
	lostPrefix      = "gc/lost/"
	indexPrefix     = "index/"
	packPrefix      = "packs/"
	probePrefix     = "probe/" // what probes of the storage leave where nothing may be deleted
)

// root is what is deleted together: a timestamp, one version of a named stream,
// or a base backup. It is the tail of a tombstone's key.
func (n Name) root() string {
	r := string(n.Class) + "/" + escape(n.Namespace) + "/" + escape(n.Group)
	if n.Class != Backup {
		r += "/" + escape(n.Item)
	}
	return r
}

func (n Name) tombstoneKey() string { return tombstonePrefix + n.root() }

// checkpointPart begins what the key of a checkpoint ends with, and no stream's key
// does: see escape. Sixteen hexadecimal digits, "-" and a number follow.
const checkpointPart = ".part-"

func checkpointKey(key, attempt string, n int) string {
	return key + checkpointPart + attempt + "-" + strconv.Itoa(n)
}

// checkpointSuffix returns where the ending of a checkpoint's key begins in s, -1 if s
// has none. Every process asks, so it is no regular expression: to compile one takes
// longer than all of the rest of this file.
func checkpointSuffix(s string) int {
	const attempt = 16
	at := strings.LastIndex(s, checkpointPart)
	if at < 0 {
		return -1
	}
	rest := s[at+len(checkpointPart):]
	if len(rest) < attempt+2 || rest[attempt] != '-' {
		return -1
	}
	for i := range len(rest) {
		c := rest[i]
		digit := '0' <= c && c <= '9' || i < attempt && 'a' <= c && c <= 'f'
		if !digit && i != attempt {
			return -1
		}
	}
	return at
}

// parseKey returns the name of the stream whose manifest lies under key, and
// whether it is one of its checkpoints.
func parseKey(key string) (n Name, checkpoint bool, err error) {
	rest, ok := strings.CutPrefix(key, manifestPrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 4 {
		return Name{}, false, fmt.Errorf("key %s is not a manifest's", key)
	}
	if at := checkpointSuffix(parts[3]); at >= 0 {
		checkpoint = true
		parts[3] = parts[3][:at]
	}
	n.Class = Class(parts[0])
	for i, dst := range []*string{&n.Namespace, &n.Group, &n.Item} {
		if *dst, err = unescape(parts[i+1]); err != nil {
			return Name{}, false, fmt.Errorf("key %s: %w", key, err)
		}
	}
	return n, checkpoint, nil
}

// escape percent-encodes all but [A-Za-z0-9._-]. A name that would end like a
// checkpoint's key has the dot of that ending encoded too.
func escape(s string) string {
	var b strings.Builder
	suffix := checkpointSuffix(s)
	for i := range len(s) {
		c := s[i]
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
		if s == "." || s == ".." || i == suffix {
			plain = false
		}
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unescape reverses escape and refuses everything that escape does not write.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("name %q is not canonically encoded", s)
		}
		v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("name %q is not canonically encoded", s)
		}
		b.WriteByte(byte(v))
		i += 2
	}
	if out := b.String(); escape(out) == s {
		return out, nil
	}
	return "", fmt.Errorf("name %q is not canonically encoded", s)
}
