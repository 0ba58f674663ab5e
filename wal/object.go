package wal

import (
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/digest"
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

// openFile writes the file that an object holds to w, piece by piece. Only when it
// returns nil was all of that checked, down to the last byte. The errors of w are
// returned as they are.
//
// A few pieces at a time are in memory, and in the processor's cache, from where they
// are decoded until they are written: to touch fresh memory for each costs more than to
// decode it.
func openFile(keys *seal.Keys, key string, name Name, object []byte, dec *compress.Decoder, concurrency int, w io.Writer) (*Info, error) {
	info, s, err := openInfo(keys, key, name, object[:min(len(object), metaEnd)])
	if err != nil {
		return nil, err
	}
	end := int64(metaEnd)
	for _, b := range info.boxes {
		end += int64(b)
	}
	if end > int64(len(object)) {
		return nil, fmt.Errorf("%w: %d bytes long, %d are missing", repo.ErrDamaged, len(object), end-int64(len(object)))
	}
	if err := checkPadding(keys, s, []byte(key), object[end:]); err != nil {
		return nil, err
	}
	type part struct {
		data []byte
		err  error
	}
	size, n := pieceSize(info.Length)
	lanes := max(1, min(concurrency, n))
	parts := make([]chan part, lanes) // piece i comes out of lane i modulo lanes
	buffers := make([]chan []byte, lanes)
	for l := range lanes {
		parts[l], buffers[l] = make(chan part), make(chan []byte, 2)
		buffers[l] <- nil
		buffers[l] <- nil // one is written while the next is decoded
	}
	stop := make(chan struct{})
	defer close(stop)
	for l := range lanes {
		go func() {
			d := pieceDecoder{zstd: dec}
			at := int64(metaEnd)
			for i, b := range info.boxes {
				box := object[at : at+int64(b)]
				at += int64(b)
				if i%lanes != l {
					continue
				}
				var p part
				select {
				case p.data = <-buffers[l]:
				case <-stop:
					return
				}
				length := int(min(int64(size), info.Length-int64(i)*int64(size)))
				p.data, p.err = openPiece(s, uint64(i)+1, []byte(key), box, &d, info.piece(i), p.data[:0], length)
				select {
				case parts[l] <- p:
				case <-stop:
					return
				}
			}
		}()
	}
	hash := blake3.New()
	for i := range n {
		p := <-parts[i%lanes]
		if p.err != nil {
			return nil, p.err
		}
		if i == 0 {
			if err := checkContent(info, p.data); err != nil {
				return nil, err
			}
		}
		_, _ = hash.Write(p.data)
		if _, err := w.Write(p.data); err != nil {
			return nil, err
		}
		buffers[i%lanes] <- p.data
	}
	if digest.ID(hash.Sum(nil)) != info.Hash {
		return nil, fmt.Errorf("%w: the file's hash is not the recorded one", repo.ErrDamaged)
	}
	return info, nil
}

// openPiece returns what the box holds, length bytes, in dst's memory if there is room.
func openPiece(s *seal.Sealer, ordinal uint64, bind, box []byte, d *pieceDecoder, where place, dst []byte, length int) ([]byte, error) {
	plain, err := s.Open(d.plain[:0], ordinal, bind, box)
	if err == nil {
		d.plain = plain
		dst, err = d.decode(where, plain, dst, length)
	}
	if err != nil {
		return nil, fmt.Errorf("piece %d: %w", ordinal, err)
	}
	return dst, nil
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

// checkContent compares the first page of a segment, with which data begins, with what the metadata says of
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
