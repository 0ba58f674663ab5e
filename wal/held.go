package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// held is a segment in the spool.
type held struct {
	quick.Held
	name Name
}

func (h *held) size() int64 { return h.Info.Size() }

// list returns the segments in the spool.
func (s *Spool) list() ([]held, error) {
	there, err := quick.List(s.dir)
	if err != nil {
		return nil, err
	}
	var all []held
	for _, h := range there {
		if name, err := ParseName(h.Segment); err == nil {
			all = append(all, held{h, name})
		}
	}
	return all, nil
}

// errSpoiled: what the spool holds is not what was put there.
var errSpoiled = errors.New("the spooled file is damaged")

// Take delivers a segment from the spool to dest, and reports whether it did. The
// segment leaves the spool. One that is just being fetched is waited for. An error says
// that dest cannot be written; that something is wrong with the spool is none.
func (s *Spool) Take(ctx context.Context, name Name, dest string, durable bool) (taken bool, size int64, err error) {
	h, found := quick.Await(ctx.Done(), s.dir, name.String(), spoolPatience)
	if !found {
		return false, 0, nil
	}
	f, err := os.Open(h.File)
	if err != nil {
		return false, 0, nil // it is fetched
	}
	defer f.Close()
	// On the file system of dest its bytes need not be copied.
	if !h.Fresh() && copyTo(io.Discard, f, h) != nil {
		_ = os.Remove(h.File)
		return false, 0, nil
	}
	if err := os.Rename(h.File, dest); err == nil {
		if durable {
			err = errors.Join(f.Sync(), syncDir(filepath.Dir(dest)))
		}
		return err == nil, h.Info.Size(), err
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
	_ = os.Remove(h.File)
	return taken, h.Info.Size(), err
}

// copyTo copies a segment and compares it with its hash.
func copyTo(w io.Writer, f *os.File, h quick.Held) error {
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
	if digest.ID(hash.Sum(nil)).String()[:quick.HashDigits] != h.Hash {
		return errSpoiled
	}
	return nil
}

// How long a fetch waits for the process that fetches ahead, which has no deadline.
const spoolPatience = 10 * time.Second

// add puts a segment into the spool, which write writes, and whose hash it returns. Then
// it can be taken. It returns the file.
func (s *Spool) add(name Name, write func(io.Writer) (digest.ID, error)) (file string, err error) {
	part := s.path(name.String() + quick.PartSuffix)
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
		file = s.path(quick.HeldName(name.String(), hash.String(), info.ModTime()))
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
	f, err := os.OpenFile(s.path(name.String()+quick.PartSuffix), os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	return f.Close()
}

func (s *Spool) retract(name Name) { _ = os.Remove(s.path(name.String() + quick.PartSuffix)) }
