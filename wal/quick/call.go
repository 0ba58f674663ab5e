package quick

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The commands that are answered.
const (
	Push  = "push"
	Fetch = "fetch"
)

// Call is a command line of archive_command or restore_command for one segment.
type Call struct {
	Command string
	File    string // the segment's name
	Path    string // where it is, or is to appear

	same string // all that is the same for the next segment
	dir  string // where the ticket lies
}

// restored is the name that a server gives a segment that it restores.
const restored = "RECOVERYXLOG"

// ParseCall recognises the call that args, which begin with the group of commands, are. The result is
// false for one that has to do with anything but a single segment, or depends on what may change while the command
// line does not: the file of --config.
func ParseCall(args []string) (c Call, ok bool) {
	if len(args) < 3 || args[0] != "wal" || args[1] != Push && args[1] != Fetch {
		return Call{}, false
	}
	c.Command = args[1]
	cache := os.Getenv("GPDEDUP_CACHE_DIR")
	same := slices.Clone(args)
	for i, arg := range args {
		base := path.Base(arg)
		switch {
		case arg == "--config" || strings.HasPrefix(arg, "--config="):
			return Call{}, false
		case arg == "--cache-dir" && i+1 < len(args):
			cache = args[i+1]
		case strings.HasPrefix(arg, "--cache-dir="):
			cache = strings.TrimPrefix(arg, "--cache-dir=")
		case c.Command == Push && IsSegment(base), c.Command == Fetch && base == restored:
			if c.Path != "" {
				return Call{}, false
			}
			c.Path, same[i] = arg, "%p"
			if c.Command == Push {
				c.File, same[i] = base, path.Dir(arg)+"/%f"
			}
		case c.Command == Fetch && IsSegment(arg):
			if c.File != "" {
				return Call{}, false
			}
			c.File, same[i] = arg, "%f"
		}
	}
	here, err := syscall.Getwd()
	if c.File == "" || c.Path == "" || err != nil {
		return Call{}, false
	}
	if cache == "" {
		if cache = CacheDir(); cache == "" {
			return Call{}, false
		}
	}
	c.same = strings.Join(append(append(same, here), environment()...), "\x00")
	c.dir = path.Join(cache, "wal", "calls")
	return c, true
}

// CacheDir is the cache directory where nothing else is said, "" if the user has none.
func CacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return path.Join(dir, "gpdedup")
}

// environment returns what the program takes from its environment. Of passwords, and of ways to
// them, it has the names alone: no answer depends on them, and a ticket is a file.
func environment() []string {
	var own []string
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "GPDEDUP_") || strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "XDG_CACHE_HOME=") {
			if name, _, _ := strings.Cut(v, "="); strings.Contains(name, "PASSWORD") {
				v = name
			}
			own = append(own, v)
		}
	}
	slices.Sort(own)
	return own
}

// IsSegment reports whether s is a segment's name.
func IsSegment(s string) bool {
	var timeline, log, seg uint32
	return ParseHex(s, &timeline, &log, &seg) && timeline > 0
}

// ParseHex reads eight upper-case hexadecimal digits for each of dst, and nothing else.
func ParseHex(s string, dst ...*uint32) bool {
	if len(s) != 8*len(dst) {
		return false
	}
	for i, d := range dst {
		part := s[8*i : 8*i+8]
		v, err := strconv.ParseUint(part, 16, 32)
		if err != nil || strings.ToUpper(part) != part {
			return false
		}
		*d = uint32(v)
	}
	return true
}
