package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
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
	enc     *compress.Encoder
	dec     *compress.Decoder
	cores   chan struct{}
	free    chan *scratch
	version string
	now     func() time.Time
}

// NewPacker returns a packer that uses as many cores as concurrency says. version is
// the program's, recorded with each file.
func NewPacker(level compress.Level, concurrency int, version string) (*Packer, error) {
	enc, err := compress.NewEncoder(level, concurrency)
	if err != nil {
		return nil, err
	}
	dec, err := compress.NewDecoder(concurrency)
	if err != nil {
		return nil, err
	}
	return &Packer{enc: enc, dec: dec, cores: make(chan struct{}, concurrency), free: make(chan *scratch, 2*concurrency), version: version, now: time.Now}, nil
}

// scratch is memory for a piece, used again and again: to touch fresh memory takes
// longer than to compress what is in it.
type scratch struct {
	raw, out, check []byte
}

func (p *Packer) takeScratch() *scratch {
	select {
	case s := <-p.free:
		return s
	default:
		return &scratch{}
	}
}

func (p *Packer) putScratch(s *scratch) {
	select {
	case p.free <- s:
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
		room := p.takeScratch()
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
			piece, err := p.packPiece(out.Info.piece(i), room)
			p.putScratch(room)
			out.pieces[i] = piece
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

// packPiece compresses a piece, and makes sure that it can be had back. It changes what
// is in room.
func (p *Packer) packPiece(where place, room *scratch) ([]byte, error) {
	raw := room.raw
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Checksum(raw, table)
	predicted := false
	if where.pageSize > 0 {
		if predicted = predict(raw, where.at, where.pageSize); !predicted {
			restore(raw, where.at, where.pageSize)
		}
	}
	out, encoding := p.enc.Encode(append(room.out[:0], 0), raw)
	if predicted && encoding == index.Zstd {
		encoding = encodingPredicted
	} else if predicted { // what the file holds, not what was made of it
		restore(raw, where.at, where.pageSize)
		out = append(out[:1], raw...)
	}
	out[0] = byte(encoding)
	room.out = out
	check, err := decodePiece(p.dec, where, out, room.check, len(raw))
	if err == nil {
		room.check = check
	}
	if err != nil || len(check) != len(raw) || crc32.Checksum(check, table) != sum {
		return nil, errors.New("compress: what was compressed does not decompress to the same bytes: " +
			"this machine's memory or processor is not to be trusted")
	}
	return bytes.Clone(out), nil
}

// Size returns how many bytes the content takes, compressed.
func (p *Packed) Size() int {
	n := 0
	for _, piece := range p.pieces {
		n += len(piece)
	}
	return n
}
