package wal

import (
	"bytes"
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
)

// Packed is a file of the archive, checked, hashed and compressed: all that can be
// done without the repository's key.
type Packed struct {
	Info   Info
	pieces [][]byte // encoding and payload
}

// Packer packs files. It is safe for concurrent use; each Pack takes as many cores as
// are free of those that NewPacker was given.
type Packer struct {
	zstd    *compress.Encoder // nil: pieces are encoded the quick way
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
		cores: make(chan struct{}, concurrency), free: make(chan *pieceEncoder, 2*concurrency),
		version: version, now: time.Now,
	}
	var err error
	if level != compress.Fastest {
		if p.zstd, err = compress.NewEncoder(level, concurrency); err != nil {
			return nil, err
		}
	}
	if p.dec, err = compress.NewDecoder(concurrency); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Packer) takeEncoder() *pieceEncoder {
	select {
	case e := <-p.free:
		return e
	default:
		return &pieceEncoder{zstd: p.zstd, decoder: pieceDecoder{zstd: p.dec}}
	}
}

func (p *Packer) putEncoder(e *pieceEncoder) {
	select {
	case p.free <- e:
	default:
	}
}

// Source is a file on its way into the archive.
type Source struct {
	Name   Name
	Path   string   // as the server named it
	System SystemID // of the cluster; 0 if it is not known from elsewhere
}

// Pack reads the file, which has length bytes. The errors about its content wrap
// ErrPage, ErrHistory or ErrForeign.
func (p *Packer) Pack(ctx context.Context, src Source, file io.ReaderAt, length int64) (*Packed, error) {
	host, _ := os.Hostname() // only for people to read
	out := &Packed{Info: Info{
		Name: src.Name, System: src.System, Length: length,
		Origin: manifest.Origin{Host: host, Path: src.Path, Version: p.version, Time: p.now().UTC()},
	}}
	if err := out.describe(file); err != nil {
		return nil, err
	}
	size, n := pieceSize(length)
	out.pieces = make([][]byte, n)
	hash := blake3.New()
	g, ctx := errgroup.WithContext(ctx)
	for i := range n {
		// Read one after the other, because the hash wants them so, and each once:
		// what is hashed is what is stored, whatever happens to the file meanwhile.
		room := p.takeEncoder()
		want := int(min(int64(size), length-int64(i)*int64(size)))
		room.raw = slices.Grow(room.raw[:0], want)[:want]
		if _, err := file.ReadAt(room.raw, int64(i)*int64(size)); err != nil {
			_ = g.Wait()
			return nil, fmt.Errorf("read %s: %w", src.Path, notWhole(err))
		}
		_, _ = hash.Write(room.raw)
		select {
		case p.cores <- struct{}{}:
		case <-ctx.Done():
			err := g.Wait()
			if err == nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
		g.Go(func() error {
			defer func() { <-p.cores }()
			piece, err := room.encode(out.Info.piece(i))
			out.pieces[i] = bytes.Clone(piece)
			p.putEncoder(room)
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

// Size returns how many bytes the content takes, compressed.
func (p *Packed) Size() int {
	n := 0
	for _, piece := range p.pieces {
		n += len(piece)
	}
	return n
}
