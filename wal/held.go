package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/digest"
)

// held is a segment in the spool. Its file is named
//
//	<segment>.<first 16 digits of its hash>.<time of its last change, ns, hexadecimal>.<boot>
type held struct {
	name    Name
	file    string
	hash    string
	changed int64  // ns since 1970, as its name says
	boot    string // the machine's start before that; empty: not known
	info    os.FileInfo
}

func (h *held) size() int64 { return h.info.Size() }

// list returns the segments in the spool.
func (s *Spool) list() ([]held, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var all []held
	for _, e := range entries {
		fields := strings.Split(e.Name(), ".")
		if len(fields) != 4 || len(fields[0]) != 24 || len(fields[1]) != heldDigits {
			continue
		}
		name, err := ParseName(fields[0])
		changed, terr := strconv.ParseInt(fields[2], 16, 64)
		info, ierr := e.Info()
		if err != nil || terr != nil || ierr != nil {
			continue
		}
		all = append(all, held{name: name, file: s.path(e.Name()), hash: fields[1], changed: changed, boot: fields[3], info: info})
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

const heldDigits = 16

// heldFresh is how long a segment is handed over as it was checked when it was put
// into the spool, unless it was changed since. A server that got it directly may take as
// long to read it.
const heldFresh = time.Minute

// fresh reports whether the segment need not be checked again. It may not be durable yet,
// so it is not fresh after the machine went down, however soon it came up again.
func (h *held) fresh() bool {
	modified := h.info.ModTime()
	age := time.Since(modified)
	return modified.UnixNano() == h.changed && age >= 0 && age < heldFresh && h.boot != "" && h.boot == thisBoot()
}

// thisBoot returns what tells this start of the machine from others, or "".
func thisBoot() string {
	const digits = 8
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(id) < digits {
		return ""
	}
	return string(id[:digits])
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
	if !h.fresh() && copyTo(io.Discard, f, h) != nil {
		_ = os.Remove(h.file)
		return false, 0, nil
	}
	if err := os.Rename(h.file, dest); err == nil {
		if durable {
			err = errors.Join(f.Sync(), syncDir(filepath.Dir(dest)))
		}
		return err == nil, h.size(), err
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
	return taken, h.size(), err
}

// copyTo copies a segment and compares it with its hash.
func copyTo(w io.Writer, f *os.File, h held) error {
	hash := blake3.New()
	buf := make([]byte, 256<<10)
	for {
		k, err := f.Read(buf)
		_, _ = hash.Write(buf[:k])
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
	if digest.ID(hash.Sum(nil)).String()[:heldDigits] != h.hash {
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

// add puts a segment into the spool, which write writes, and whose hash it returns. Then
// it can be taken. It returns the file.
func (s *Spool) add(name Name, write func(io.Writer) (digest.ID, error)) (file string, err error) {
	part := s.path(name.String() + partSuffix)
	f, err := create(part)
	if err != nil {
		return "", err
	}
	var info os.FileInfo
	hash, err := write(f)
	if err == nil {
		info, err = f.Stat()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		file = s.path(fmt.Sprintf("%s.%s.%x.%s", name, hash.String()[:heldDigits], info.ModTime().UnixNano(), thisBoot()))
		err = os.Rename(part, file)
	}
	if err != nil {
		_ = os.Remove(part)
		return "", err
	}
	return file, nil
}

// create opens the file for writing, empty. It is not truncated, but for one that another
// process left: ext4 writes a file that ever was, were it empty then, to the disk when it
// is closed, and it could be taken only after that.
func create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		err = f.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// settle writes what was added through to the disk: the server, which syncs each file before
// it relies on it, need not wait for that then. What it took already is its own to sync.
// What cannot be written is not to be taken.
func settle(file string) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	if f.Sync() != nil {
		_ = os.Remove(file)
	}
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
