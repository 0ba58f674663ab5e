package wal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo"
)

// Spool is a directory of segments that were fetched before the server asks for them.
// It belongs to one server: its data directory, its place in one repository. What is
// in it was checked as every file that is fetched, and is checked once more, against a
// checksum in its name, before it is handed over: it may have lain there for long.
//
//	<segment>.<crc32c>   a segment
//	<segment>.part       one that is being fetched
//	last                 what the server asked for last
//	target               the newest timeline history that it got
//	lock                 held by the process that fetches ahead
//	bell                 a pipe that wakes it up
//
// Nothing here is needed: whatever goes wrong with a spool, the file is fetched from
// the repository.
type Spool struct{ dir string }

const (
	partSuffix = ".part"
	lastFile   = "last"
	targetFile = "target"
	lockFile   = "lock"
	bellFile   = "bell"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenSpool opens the spool of the server at d below the directory root, and makes it
// if it is missing. repository is what tells repositories apart: their location. A
// directory that others can write to is refused.
func OpenSpool(root, repository, namespace, content string, system SystemID, d DataDir) (*Spool, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if d == "" {
		return nil, errors.New("no data directory")
	}
	if err := outside(root, d); err != nil {
		return nil, err
	}
	ns, err := repo.EscapeName("namespace", namespace)
	if err != nil {
		return nil, err
	}
	who := digest.Sum([]byte(strings.Join([]string{repository, namespace, content, system.String(), string(d)}, "\x00")))
	s := &Spool{dir: filepath.Join(root, fmt.Sprintf("%.60s.%s.%s.%s", ns, content, system, hex.EncodeToString(who[:8])))}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(s.dir, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return nil, fmt.Errorf("%s belongs to somebody else, or others can write to it", s.dir)
	}
	return s, nil
}

// outside refuses a spool in the data directory: pg_rewind and base backups would copy
// it, and pg_wal must hold nothing but WAL.
func outside(root string, d DataDir) error {
	for _, dir := range []string{string(d), resolve(string(d)), resolve(d.path("pg_wal"))} {
		for _, path := range []string{root, resolve(root)} {
			if path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") {
				return repo.WithHint(fmt.Errorf("%w: the spool directory %s is inside the server's %s", repo.ErrUsage, root, dir),
					"give another --spool-dir")
			}
		}
	}
	return nil
}

// resolve follows the symbolic links in the part of the path that exists.
func resolve(path string) string {
	rest := ""
	for {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(path)
		if parent == path {
			return filepath.Join(path, rest)
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = parent
	}
}

func (s *Spool) path(name string) string { return filepath.Join(s.dir, name) }

// held is a segment in the spool.
type held struct {
	name Name
	file string
	sum  uint32
	size int64
}

// list returns the segments in the spool.
func (s *Spool) list() ([]held, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var all []held
	for _, e := range entries {
		segment, sum, found := strings.Cut(e.Name(), ".")
		if !found || len(segment) != 24 || len(sum) != 8 {
			continue
		}
		name, err := ParseName(segment)
		v, serr := strconv.ParseUint(sum, 16, 32)
		info, ierr := e.Info()
		if err != nil || serr != nil || ierr != nil {
			continue
		}
		all = append(all, held{name: name, file: s.path(e.Name()), sum: uint32(v), size: info.Size()})
	}
	return all, nil
}

func (s *Spool) find(name Name) (held, bool) {
	all, err := s.list()
	if err != nil {
		return held{}, false
	}
	for _, h := range all {
		if h.name == name {
			return h, true
		}
	}
	return held{}, false
}

// errSpoiled: what the spool holds is not what was put there.
var errSpoiled = errors.New("the spooled file is damaged")

// Take delivers a segment from the spool to dest, and reports whether it did. The
// segment leaves the spool. One that is just being fetched is waited for. An error says
// that dest cannot be written; that something is wrong with the spool is none.
func (s *Spool) Take(ctx context.Context, name Name, dest string, durable bool) (taken bool, size int64, err error) {
	h, found := s.await(ctx, name)
	if !found {
		return false, 0, nil
	}
	f, err := os.Open(h.file)
	if err != nil {
		return false, 0, nil // it is fetched
	}
	defer f.Close()
	// On the file system of dest its bytes need not be copied.
	if copyTo(io.Discard, f, h) != nil {
		_ = os.Remove(h.file)
		return false, 0, nil
	}
	if err := os.Rename(h.file, dest); err == nil {
		if durable {
			err = errors.Join(f.Sync(), syncDir(filepath.Dir(dest)))
		}
		return err == nil, h.size, err
	} else if !errors.Is(err, unix.EXDEV) {
		return false, 0, nil // whatever it is, it is said when the fetched file is written
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, 0, nil // it is fetched
	}
	err = deliver(dest, durable, func(w io.Writer) error { return copyTo(w, f, h) })
	if errors.Is(err, errSpoiled) {
		err = nil
	} else if err == nil {
		taken = true
	}
	_ = os.Remove(h.file)
	return taken, h.size, err
}

// copyTo copies a segment and compares it with its checksum.
func copyTo(w io.Writer, f *os.File, h held) error {
	sum := uint32(0)
	n := int64(0)
	buf := make([]byte, 256<<10)
	for {
		k, err := f.Read(buf)
		sum = crc32.Update(sum, castagnoli, buf[:k])
		n += int64(k)
		if _, werr := w.Write(buf[:k]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errSpoiled, err)
		}
	}
	if sum != h.sum || n != h.size {
		return errSpoiled
	}
	return nil
}

// How long a fetch waits for the process that fetches ahead, which has no deadline.
const spoolPatience = 10 * time.Second

// await returns the segment. While it is being fetched, it waits for that.
func (s *Spool) await(ctx context.Context, name Name) (held, bool) {
	for deadline := time.Now().Add(spoolPatience); ; {
		// In this order: between the two it may become a whole one, not the reverse.
		_, err := os.Lstat(s.path(name.String() + partSuffix))
		coming := err == nil
		if h, found := s.find(name); found {
			return h, true
		}
		if !coming || !s.locked() || time.Now().After(deadline) {
			return held{}, false
		}
		select {
		case <-ctx.Done():
			return held{}, false
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// add puts a segment into the spool. It is synced, so that the server, which syncs each
// file before it relies on it, need not wait for that.
func (s *Spool) add(name Name, write func(io.Writer) error) (err error) {
	part := s.path(name.String() + partSuffix)
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	if err = write(io.MultiWriter(f, sum)); err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(part, s.path(fmt.Sprintf("%s.%08x", name, sum.Sum32())))
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

// announce says that a segment is coming; retract takes that back.
func (s *Spool) announce(name Name) error {
	f, err := os.OpenFile(s.path(name.String()+partSuffix), os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	return f.Close()
}

func (s *Spool) retract(name Name) { _ = os.Remove(s.path(name.String() + partSuffix)) }

// request is what a server asked for last, and in which direction it is going.
type request struct {
	name Name
	size uint32 // of segments, in bytes
	back bool   // it asked for the segment after this one before: pg_rewind does
}

func (s *Spool) last() (request, bool) {
	data, err := os.ReadFile(s.path(lastFile))
	if err != nil {
		return request{}, false
	}
	fields := strings.Fields(string(data))
	if len(fields) != 3 {
		return request{}, false
	}
	name, err := ParseName(fields[0])
	size, serr := strconv.ParseUint(fields[1], 10, 32)
	r := request{name: name, size: uint32(size), back: fields[2] == "back"}
	return r, err == nil && serr == nil && name.Kind == Segment && validSegmentSize(r.size)
}

// Served notes that the server got a segment of size bytes.
func (s *Spool) Served(name Name, size uint32) error {
	direction := "on"
	if before, ok := s.last(); ok && before.size == size {
		now, _ := name.Number(size)
		then, _ := before.name.Number(size)
		if now+1 == then || now == then && before.back {
			direction = "back"
		}
	}
	return s.write(lastFile, fmt.Appendf(nil, "%s %d %s\n", name, size, direction))
}

// Followed notes that the server got the history of a timeline. It asks first for that
// of the timeline that it is going to follow, and for those of ancestors later.
func (s *Spool) Followed(timeline uint32, history []byte) error {
	if t, _, ok := s.target(); ok && t > timeline {
		return nil
	}
	return s.write(targetFile, append(fmt.Appendf(nil, "%08X\n", timeline), history...))
}

// target returns the timeline that the server follows, as far as is known, and its
// ancestors.
func (s *Spool) target() (timeline uint32, ancestors []Branch, ok bool) {
	data, err := os.ReadFile(s.path(targetFile))
	if err != nil {
		return 0, nil, false
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	if !parseHex(first, &timeline) {
		return 0, nil, false
	}
	ancestors, err = ParseHistory(timeline, []byte(rest))
	return timeline, ancestors, err == nil
}

func (s *Spool) write(name string, data []byte) error {
	f, err := os.CreateTemp(s.dir, name+".*.part")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path(name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Ring wakes the process that fetches ahead, and reports whether there is one.
func (s *Spool) Ring() bool {
	fd, err := unix.Open(s.path(bellFile), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false // nobody has its other end open
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte{'\n'})
	return err == nil || errors.Is(err, unix.EAGAIN) // it has been rung often enough
}

// lock takes the lock of the process that fetches ahead, if nobody has it.
func (s *Spool) lock() (*os.File, bool) {
	f, err := os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false
	}
	for range 10 {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return f, true
		}
		time.Sleep(time.Millisecond) // it may only be being asked about
	}
	_ = f.Close()
	return nil, false
}

// locked reports whether a process fetches ahead.
func (s *Spool) locked() bool {
	f, err := os.Open(s.path(lockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// clear removes everything, for the server needs no spool any more.
func (s *Spool) clear() { _ = os.RemoveAll(s.dir) }

// room reports how many bytes are free where the spool is.
func (s *Spool) room() int64 {
	var st unix.Statfs_t
	if unix.Statfs(s.dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}
