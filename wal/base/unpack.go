package base

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
)

// place is where the members of a backup go.
type place interface {
	dir(h header) error
	// file returns what takes the content of a file; nil if it goes nowhere. It is called
	// from several goroutines at once, as is what it returns.
	file(h header) (fileWriter, error)
}

// fileWriter takes the content of one file.
type fileWriter interface {
	io.Writer
	// Close makes the content durable.
	Close() error
	// Abort gives the file up.
	Abort()
}

const (
	// filesAtOnce bounds the files that are written at the same time.
	filesAtOnce = 8
	// pieceSize is how much of a file is handed over at once, in bytes.
	pieceSize = 256 << 10
	// piecesAtOnce bounds the pieces that are in memory.
	piecesAtOnce = 64
)

// unpacker reads the tar archive of a backup, and checks every file of it against
// backup_manifest while others are read.
type unpacker struct {
	server *serverManifest
	place  place

	group  *errgroup.Group
	ctx    context.Context //nolint:containedctx // of unpack
	pieces sync.Pool
	space  chan struct{} // one for each piece in memory
	open   chan struct{} // one for each file that is being written

	seen map[string]bool
}

// unpack reads the archive to its end. When it returns nil, every file that
// backup_manifest lists was there, as it says.
func unpack(ctx context.Context, in io.Reader, server *serverManifest, to place) error {
	g, gctx := errgroup.WithContext(ctx)
	u := &unpacker{
		server: server, place: to, group: g, ctx: gctx, seen: make(map[string]bool, len(server.files)),
		space: make(chan struct{}, piecesAtOnce), open: make(chan struct{}, filesAtOnce),
	}
	u.pieces.New = func() any { b := make([]byte, pieceSize); return &b }
	err := u.members(in)
	if werr := g.Wait(); werr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = werr // the reader only ended because a file failed
	}
	if err != nil {
		return err
	}
	var missing []string
	for name := range server.files {
		if !u.seen[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("%w: %d files of backup_manifest are missing, the first is %s", repo.ErrDamaged, len(missing), missing[0])
	}
	return nil
}

func (u *unpacker) members(in io.Reader) error {
	for {
		var b block
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return u.cut(err)
		}
		if b.isZero() {
			_, err := io.Copy(io.Discard, in)
			return err
		}
		h, err := parseHeader(&b)
		if err != nil {
			return fmt.Errorf("%w: %w", repo.ErrDamaged, err)
		}
		if err := u.member(h, in); err != nil {
			return err
		}
	}
}

func (u *unpacker) cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // of io.ReadFull
		return fmt.Errorf("%w: the archive ends in the middle", repo.ErrDamaged)
	}
	return err
}

func (u *unpacker) member(h header, in io.Reader) error {
	switch {
	case h.kind == kindDir:
		return u.place.dir(h)
	case h.kind != kindFile:
		return fmt.Errorf("%w: %s is a link", repo.ErrDamaged, h.name)
	case u.seen[h.name]:
		return fmt.Errorf("%w: %s is there twice", repo.ErrDamaged, h.name)
	}
	u.seen[h.name] = true
	f := &memberFile{u: u, h: h, pieces: make(chan *[]byte, piecesAtOnce/4)}
	known := false
	if f.server, known = u.server.files[h.name]; known {
		var err error
		if f.sum, err = newSum(f.server.algorithm); err != nil {
			return fmt.Errorf("check %s: %w", h.name, err)
		}
	} else if listed(h.name) {
		return fmt.Errorf("%w: %s is not in backup_manifest", repo.ErrDamaged, h.name)
	}
	f.check = known
	select {
	case u.open <- struct{}{}:
	case <-u.ctx.Done():
		return u.ctx.Err()
	}
	u.group.Go(f.write)
	defer close(f.pieces)
	for left := h.size; left > 0; {
		piece, err := u.take()
		if err != nil {
			return err
		}
		*piece = (*piece)[:min(left, pieceSize)]
		if _, err := io.ReadFull(in, *piece); err != nil {
			return u.cut(err)
		}
		left -= int64(len(*piece))
		select {
		case f.pieces <- piece:
		case <-u.ctx.Done():
			return u.ctx.Err()
		}
	}
	if fill := h.padded() - h.size; fill > 0 {
		var b block
		if _, err := io.ReadFull(in, b[:fill]); err != nil {
			return u.cut(err)
		}
	}
	return nil
}

func (u *unpacker) take() (*[]byte, error) {
	select {
	case u.space <- struct{}{}:
		return u.pieces.Get().(*[]byte), nil //nolint:forcetypeassert // of New
	case <-u.ctx.Done():
		return nil, u.ctx.Err()
	}
}

func (u *unpacker) give(piece *[]byte) {
	*piece = (*piece)[:cap(*piece)]
	u.pieces.Put(piece)
	<-u.space
}

// memberFile is a file on its way to where it goes.
type memberFile struct {
	u      *unpacker
	h      header
	pieces chan *[]byte
	server serverFile
	check  bool
	sum    hash.Hash
}

func (f *memberFile) write() (err error) {
	defer func() { <-f.u.open }()
	w, err := f.u.place.file(f.h)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if w != nil && !done {
			w.Abort()
		}
	}()
	var size int64
	for piece := range f.pieces {
		if f.sum != nil {
			_, _ = f.sum.Write(*piece) // never fails
		}
		size += int64(len(*piece))
		if w != nil && err == nil {
			_, err = w.Write(*piece)
		}
		f.u.give(piece)
		if err != nil {
			return err
		}
	}
	if size != f.h.size {
		return nil // the reader says why
	}
	if f.check {
		if err := f.server.check(f.h.name, size, f.sum); err != nil {
			return err
		}
	}
	if w == nil {
		return nil
	}
	done = true
	return w.Close()
}

// nowhere is the place of a backup that is only verified.
type nowhere struct{}

func (nowhere) dir(header) error                { return nil }
func (nowhere) file(header) (fileWriter, error) { return nil, nil } //nolint:nilnil // as place says

// inTablespace returns the oid of the tablespace that a member belongs to, and its name
// there.
func inTablespace(name string) (oid, rest string, ok bool) {
	below, found := strings.CutPrefix(name, "pg_tblspc/")
	if !found {
		return "", "", false
	}
	oid, rest, _ = strings.Cut(below, "/")
	return oid, path.Clean(rest), true
}
