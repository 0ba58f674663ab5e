package wal

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// Packed is a file of the archive, checked, hashed and compressed: all that can be
// done without the repository's key.
type Packed struct {
	Info   Info
	object []byte // room for what comes first, and the pieces, each with room for its seal
}

// room is what a box takes beyond its piece.
const room = seal.Overhead

// newPacked returns one for a file of length bytes, without pieces.
func newPacked(info Info) *Packed {
	// Memory that is not touched costs nothing, and most WAL takes less.
	return &Packed{Info: info, object: make([]byte, metaEnd, metaEnd+int(info.Length)/4+minPiece)}
}

func (p *Packed) append(piece []byte) {
	p.object = append(append(p.object, piece...), make([]byte, room)...)
	p.Info.boxes = append(p.Info.boxes, uint32(len(piece)+room))
}

// pieces calls fn for each piece, which is encoding and payload, and where in the object its box begins.
func (p *Packed) pieces(fn func(n, at int, piece []byte)) {
	at := metaEnd
	for n, box := range p.Info.boxes {
		fn(n, at, p.object[at:at+int(box)-room])
		at += int(box)
	}
}

// Packer packs files. It is safe for concurrent use; each Pack takes as many cores as
// are free of those that NewPacker was given. There are no more buffers than cores: to
// touch memory for the first time takes as long as to read it several times.
type Packer struct {
	zstd    *compress.Encoder
	quick   bool // pieces are encoded the quick way
	dec     *compress.Decoder
	cores   chan struct{}
	free    chan *pieceEncoder
	version string
	now     func() time.Time
}

// NewPacker returns a packer that uses as many cores as concurrency says. At the level
// compress.Fastest pieces are encoded in a way that only WAL objects have, else by zstd.
// version is the program's, recorded with each file.
func NewPacker(level compress.Level, concurrency int, version string) (*Packer, error) {
	p := &Packer{
		cores: make(chan struct{}, concurrency), free: make(chan *pieceEncoder, concurrency),
		version: version, now: time.Now,
	}
	p.quick = level == compress.Fastest
	var err error
	if p.zstd, err = compress.NewEncoder(level, concurrency); err != nil {
		return nil, err
	}
	if p.dec, err = compress.NewDecoder(concurrency); err != nil {
		return nil, err
	}
	return p, nil
}

// Source is a file on its way into the archive.
type Source struct {
	Name   Name
	Path   string   // as the server named it
	System SystemID // of the cluster; 0 if it is not known from elsewhere
	Ahead  bool     // the server has not asked for it yet: it is behind, and speed counts for more than space
}

// Pack reads the file, which has length bytes. The errors about its content wrap
// ErrPage, ErrHistory or ErrForeign.
func (p *Packer) Pack(ctx context.Context, src Source, file io.ReaderAt, length int64) (*Packed, error) {
	host, _ := os.Hostname() // only for people to read
	out := newPacked(Info{
		Name: src.Name, System: src.System, Length: length,
		Origin: manifest.Origin{Host: host, Path: src.Path, Version: p.version, Time: p.now().UTC()},
	})
	if err := out.describe(file); err != nil {
		return nil, err
	}
	size, n := pieceSize(length)
	hash := blake3.New()
	g, ctx := errgroup.WithContext(ctx)
	turn := make(chan struct{}) // closed when the pieces before are where they belong
	close(turn)
	for i := range n {
		select {
		case p.cores <- struct{}{}:
		case <-ctx.Done():
			err := g.Wait()
			if err == nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
		// Read one after the other, because the hash wants them so, and each once:
		// what is hashed is what is stored, whatever happens to the file meanwhile.
		e := free(p.free)
		if e == nil {
			e = &pieceEncoder{zstd: p.zstd, quick: p.quick, decoder: pieceDecoder{zstd: p.dec}}
		}
		e.hurry = src.Ahead
		want := int(min(int64(size), length-int64(i)*int64(size)))
		e.raw = slices.Grow(e.raw[:0], want)[:want]
		if _, err := file.ReadAt(e.raw, int64(i)*int64(size)); err != nil {
			<-p.cores
			_ = g.Wait()
			return nil, fmt.Errorf("read %s: %w", src.Path, notWhole(err))
		}
		_, _ = hash.Write(e.raw)
		mine, next := turn, make(chan struct{})
		turn = next
		g.Go(func() error {
			defer func() { <-p.cores }()
			defer close(next)
			piece, err := e.encode(out.Info.piece(i))
			<-mine // whoever is before has begun before
			if err == nil {
				out.append(piece)
				giveBack(p.free, e)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out.Info.Hash = digest.ID(hash.Sum(nil))
	return out, nil
}

func notWhole(err error) error {
	if err == io.EOF { //nolint:errorlint // ReadAt promises it unwrapped
		return io.ErrUnexpectedEOF
	}
	return err
}

// describe fills in what the file's beginning says, and checks it.
func (p *Packed) describe(file io.ReaderAt) error {
	i := &p.Info
	if !i.Name.isSegment() {
		if i.Length > maxText {
			return fmt.Errorf("%w: a %s of %d bytes", ErrPage, i.Name.Kind, i.Length)
		}
		return nil
	}
	front := make([]byte, PageHeaderSize)
	n, err := file.ReadAt(front, 0)
	if err != nil && n < len(front) && notWhole(err) != io.ErrUnexpectedEOF { //nolint:errorlint // made just there
		return fmt.Errorf("read %s: %w", i.Origin.Path, err)
	}
	h, err := ParsePageHeader(front[:n])
	if err != nil {
		return err
	}
	if err := h.Check(i.Name, i.Length); err != nil {
		return err
	}
	if i.System != 0 && i.System != h.System {
		return &ForeignError{File: i.Name, Got: h.System, Want: i.System}
	}
	i.System, i.PageMagic, i.PageTLI = h.System, h.Magic, h.Timeline
	i.SegmentSize, i.PageSize = h.SegmentSize, h.PageSize
	i.Number, _ = i.Name.Number(h.SegmentSize)
	return nil
}
