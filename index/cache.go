package index

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// CacheOptions say what a cache may use and what it must know.
type CacheOptions struct {
	// FirstOffset is the offset of a pack's first chunk, in bytes: the length of
	// the header that every object begins with.
	FirstOffset uint32
	// SizeLimit is what the generations may occupy, in bytes; 0 means a quarter of what
	// their file system has free, themselves counted as free, but 4 GiB at least, and
	// 64 GiB at most. While one is built, the temporary files come on top, up to twice as
	// much. Beyond the limit the oldest fragments are left out.
	SizeLimit int64
	// FeatureEntries is of how many entries that have similarity features, those of the
	// newest fragments, the generations keep them; 0 means 4 Mi, negative none. Each
	// takes about 120 bytes. Older ones go as generations are merged.
	FeatureEntries int
	// MaxGenerations is how many files a View has to look into; 0 means 4.
	MaxGenerations int
}

const (
	leastSizeLimit        = 4 << 30  // of about 40 million chunks
	mostSizeLimit         = 64 << 30 // of about 700 million
	defaultMaxGenerations = 4
	defaultFeatureEntries = 4 << 20
)

// Cache is the index cache of one repository on this host: a directory that any
// number of processes share. Its methods are safe for concurrent use. A nil Cache
// has empty Views, because it does not know FirstOffset, and refuses Refresh.
type Cache struct {
	dir  string // empty: no directory, Views know only recent fragments
	opts CacheOptions

	batch int          // bytes that a builder sorts at a time
	step  func(string) // for tests, which crash or interrupt between steps
}

// ErrNoCache is returned by Refresh of a Cache that has no usable directory.
var ErrNoCache = errors.New("no cache directory")

// OpenCache uses, or creates with mode 0700, the directory dir. A directory that
// others may write to, or that belongs to somebody else, is refused: whoever can
// exchange a generation decides which chunks a backup leaves out.
//
// The Cache is never nil. With an error (or an empty dir) it has no directory: its
// Views know the newest fragments only, which costs duplicates and nothing else, and
// its Refresh fails with ErrNoCache. So callers report the error and go on.
func OpenCache(dir string, opts CacheOptions) (*Cache, error) {
	if opts.MaxGenerations <= 0 {
		opts.MaxGenerations = defaultMaxGenerations
	}
	if opts.FeatureEntries == 0 {
		opts.FeatureEntries = defaultFeatureEntries
	}
	c := &Cache{opts: opts, batch: batchBytes, step: func(string) {}}
	if dir == "" {
		return c, nil
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = useDir(dir)
	}
	if err != nil {
		return c, fmt.Errorf("open index cache: %w", err)
	}
	c.dir = dir
	return c, nil
}

// sizeLimit is what the generations may occupy that now take so many bytes.
func (c *Cache) sizeLimit(own int64) int64 {
	if c.opts.SizeLimit > 0 {
		return c.opts.SizeLimit
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(c.dir, &fs); err != nil {
		return leastSizeLimit
	}
	return defaultSizeLimit(int64(fs.Bavail)*fs.Bsize, own)
}

// defaultSizeLimit is the limit on a file system with so many bytes free. A quarter: a
// builder that replaces all generations needs three times what they take.
func defaultSizeLimit(free, own int64) int64 {
	return min(max((free+own)/4, leastSizeLimit), mostSizeLimit)
}

// useDir makes sure that dir is a directory that only this user can change.
func useDir(dir string) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, not to %d: name another cache directory, or give it to this user",
			dir, st.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s has mode %04o, others may write to it: chmod 0700 %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// makeDir creates dir, and what is missing above it, with mode 0700 whatever the
// umask is: a umask that takes the owner's bits would lock us out of our own cache,
// and none may open it to others.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		if err := makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// Names in the cache directory.
const (
	generationPrefix = "index-"
	generationSuffix = ".db"
	badSuffix        = ".bad"
	tempPrefix       = "tmp-"
	lockName         = "lock"
)

func (c *Cache) path(number uint64, suffix string) string {
	return filepath.Join(c.dir, generationPrefix+strconv.FormatUint(number, 10)+suffix)
}

// files is one reading of the cache directory.
type files struct {
	generations []uint64 // newest first
	bad         []uint64 // marks
	temps       []string // names
}

func (c *Cache) list() (files, error) {
	var l files
	names, err := os.ReadDir(c.dir)
	if err != nil {
		return l, err
	}
	for _, e := range names {
		name := e.Name()
		if strings.HasPrefix(name, tempPrefix) {
			l.temps = append(l.temps, name)
		} else if n, ok := generationNumber(name, generationSuffix); ok {
			l.generations = append(l.generations, n)
		} else if n, ok := generationNumber(name, badSuffix); ok {
			l.bad = append(l.bad, n)
		}
	}
	slices.SortFunc(l.generations, func(a, b uint64) int { return cmp.Compare(b, a) })
	return l, nil
}

func generationNumber(name, suffix string) (uint64, bool) {
	s, ok := strings.CutPrefix(name, generationPrefix)
	if !ok {
		return 0, false
	}
	if s, ok = strings.CutSuffix(s, suffix); !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && s == strconv.FormatUint(n, 10)
}

// openAttempts bounds how often a View reads the directory again because a builder
// removed a file between the listing and the opening. Builders take longer than
// that; if not, what is missing costs duplicates.
const openAttempts = 4

// openGenerations opens what there is, newest first, and returns beside it what was
// found unusable. err is the first thing that the host refused (descriptors, memory,
// permission); a View can do without, a builder cannot.
func (c *Cache) openGenerations() (gens []*generation, damaged map[uint64]error, err error) {
	for attempt := 1; ; attempt++ {
		damaged = map[uint64]error{}
		l, err := c.list()
		if err != nil {
			return nil, nil, err
		}
		c.step("listed")
		raced := false
		for _, n := range l.generations {
			if slices.Contains(l.bad, n) {
				damaged[n] = errMarked
				continue
			}
			g, openErr := openGeneration(c.path(n, generationSuffix), n)
			switch {
			case openErr == nil:
				gens = append(gens, g)
			case errors.Is(openErr, fs.ErrNotExist):
				// Unlinked since: what replaces it was renamed before, so another
				// listing shows it.
				raced = true
			case errors.Is(openErr, errDamaged), errors.Is(openErr, errVersion):
				damaged[n] = openErr
			case err == nil:
				err = openErr
			}
		}
		if !raced || attempt == openAttempts {
			return gens, damaged, err
		}
		closeAll(gens)
		gens = nil
	}
}

var errMarked = fmt.Errorf("%w: marked by a reader", errDamaged)

func closeAll(gens []*generation) {
	for _, g := range gens {
		g.close()
	}
}

// markBad tells the next builder, in whatever process, that a generation is
// damaged: opening it looks at a few pages only and may not show it. Where the mark
// cannot be made, each reader finds the damage for itself.
func (c *Cache) markBad(number uint64) {
	f, err := os.OpenFile(c.path(number, badSuffix), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_ = f.Close() // nothing was written
	}
}

// lock makes this process the builder. ok is false when there is one already. The
// lock is the kernel's, so it goes when its holder dies; the file stays for good,
// because removing it would let two processes lock two files of one name.
func (c *Cache) lock() (release func(), ok bool, err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, true, nil
}

// syncDir makes renames in the directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
