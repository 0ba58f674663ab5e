package wal

import (
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// sealFile returns the object for a file that was packed.
func sealFile(keys *seal.Keys, key string, p *Packed) ([]byte, error) {
	s, err := keys.NewObject(seal.WAL)
	if err != nil {
		return nil, err
	}
	info := p.Info
	info.boxes = nil
	size := metaEnd
	for _, piece := range p.pieces {
		info.boxes = append(info.boxes, uint32(len(piece)+seal.Overhead))
		size += len(piece) + seal.Overhead
	}
	padded := size
	if keys.Encrypted() {
		padded = seal.Padme(size + seal.Overhead)
	}
	meta, err := info.marshal()
	if err != nil {
		return nil, err
	}
	bind := []byte(key)
	out := make([]byte, 0, padded)
	out = append(out, s.Header[:]...)
	out = s.Seal(out, metaBox, bind, meta)
	for i, piece := range p.pieces {
		out = s.Seal(out, uint64(i)+1, bind, piece)
	}
	if keys.Encrypted() {
		out = s.Seal(out, seal.PaddingOrdinal, bind, make([]byte, padded-size-seal.Overhead))
	}
	return out, nil
}

// openInfo reads the metadata from the first 4096 bytes of an object.
func openInfo(keys *seal.Keys, key string, name Name, front []byte) (*Info, *seal.Sealer, error) {
	if len(front) < metaEnd {
		return nil, nil, fmt.Errorf("%w: %d bytes long", repo.ErrDamaged, len(front))
	}
	s, err := keys.OpenObject(seal.WAL, front)
	if err != nil {
		return nil, nil, err
	}
	plain, err := s.Open(nil, metaBox, []byte(key), front[seal.HeaderSize:metaEnd])
	if err != nil {
		return nil, nil, err
	}
	info, err := unmarshalInfo(name, plain)
	return info, s, err
}

// openFile returns the file that an object holds, checked down to its last byte.
func openFile(keys *seal.Keys, key string, name Name, object []byte, dec *compress.Decoder, concurrency int) (*Info, []byte, error) {
	info, s, err := openInfo(keys, key, name, object[:min(len(object), metaEnd)])
	if err != nil {
		return nil, nil, err
	}
	end := int64(metaEnd)
	for _, b := range info.boxes {
		end += int64(b)
	}
	if end > int64(len(object)) {
		return nil, nil, fmt.Errorf("%w: %d bytes long, %d are missing", repo.ErrDamaged, len(object), end-int64(len(object)))
	}
	if err := checkPadding(keys, s, []byte(key), object[end:]); err != nil {
		return nil, nil, err
	}
	out := make([]byte, info.Length)
	size, _ := pieceSize(info.Length)
	var g errgroup.Group
	g.SetLimit(concurrency)
	at := int64(metaEnd)
	for i, b := range info.boxes {
		box := object[at : at+int64(b)]
		at += int64(b)
		part := out[int64(i)*int64(size) : min(int64(i+1)*int64(size), info.Length)]
		g.Go(func() error { return openPiece(s, uint64(i)+1, []byte(key), box, dec, info.piece(i), part) })
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	if digest.Sum(out) != info.Hash {
		return nil, nil, fmt.Errorf("%w: the file's hash is not the recorded one", repo.ErrDamaged)
	}
	return info, out, checkContent(info, out)
}

// place is where in the WAL a piece lies. It is zero for a piece of another file.
type place struct {
	at       LSN
	pageSize int
}

// piece returns where piece i, from 0, lies.
func (i *Info) piece(n int) place {
	if !i.Name.isSegment() {
		return place{}
	}
	size, _ := pieceSize(i.Length)
	return place{at: LSN(i.Number*uint64(i.SegmentSize) + uint64(n)*uint64(size)), pageSize: int(i.PageSize)}
}

// encodingPredicted is zstd of what predict made of a piece. It is one of WAL objects
// only.
const encodingPredicted index.Encoding = 3

// openPiece fills part with what the box holds.
func openPiece(s *seal.Sealer, ordinal uint64, bind, box []byte, dec *compress.Decoder, where place, part []byte) error {
	plain, err := s.Open(nil, ordinal, bind, box)
	if err != nil {
		return fmt.Errorf("piece %d: %w", ordinal, err)
	}
	if err := decodePiece(dec, where, plain, part); err != nil {
		return fmt.Errorf("piece %d: %w", ordinal, err)
	}
	return nil
}

// decodePiece fills part with the content of a piece: an encoding, and a payload.
func decodePiece(dec *compress.Decoder, where place, piece, part []byte) error {
	if len(piece) == 0 {
		return fmt.Errorf("%w: it is empty", repo.ErrDamaged)
	}
	switch encoding := index.Encoding(piece[0]); encoding {
	case index.Raw:
		if len(piece)-1 != len(part) {
			return fmt.Errorf("%w: %d bytes, want %d", repo.ErrDamaged, len(piece)-1, len(part))
		}
		copy(part, piece[1:])
	case index.Zstd, encodingPredicted:
		if encoding == encodingPredicted && where.pageSize == 0 {
			return fmt.Errorf("%w: encoding %d of what is no segment", repo.ErrDamaged, encoding)
		}
		// Into memory of its own: the decoder may write beyond the end of what it
		// returns, and there the next piece is being decoded.
		raw, err := dec.Decode(nil, piece[1:], index.Zstd, len(part))
		if err != nil {
			return fmt.Errorf("%w: %w", repo.ErrDamaged, err)
		}
		copy(part, raw)
		if encoding == encodingPredicted {
			restore(part, where.at, where.pageSize)
		}
	default:
		return fmt.Errorf("encoding %d: %w", piece[0], repo.ErrNewer)
	}
	return nil
}

func checkPadding(keys *seal.Keys, s *seal.Sealer, bind, box []byte) error {
	if !keys.Encrypted() {
		if len(box) > 0 {
			return fmt.Errorf("%w: %d bytes after the last piece", repo.ErrDamaged, len(box))
		}
		return nil
	}
	plain, err := s.Open(nil, seal.PaddingOrdinal, bind, box)
	if err != nil {
		return fmt.Errorf("padding: %w", err)
	}
	for _, b := range plain {
		if b != 0 {
			return fmt.Errorf("%w: padding that is not zero", repo.ErrDamaged)
		}
	}
	return nil
}

// checkContent compares the first page of a segment with what the metadata says of
// it: a server takes a segment with the bytes of another for the end of the WAL.
func checkContent(info *Info, data []byte) error {
	if !info.Name.isSegment() {
		return nil
	}
	h, err := ParsePageHeader(data)
	if err == nil {
		err = h.Check(info.Name, info.Length)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", repo.ErrDamaged, err)
	}
	if h.System != info.System || h.Magic != info.PageMagic || h.Timeline != info.PageTLI || h.PageSize != info.PageSize {
		return fmt.Errorf("%w: its first page is not what was recorded of it", repo.ErrDamaged)
	}
	return nil
}
