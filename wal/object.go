package wal

import (
	"fmt"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// sealFile returns the object for a file that was packed. It is made in the memory of p,
// whose pieces are gone then.
func sealFile(keys *seal.Keys, key string, p *Packed) ([]byte, error) {
	s, err := keys.NewObject(seal.WAL)
	if err != nil {
		return nil, err
	}
	meta, err := p.Info.marshal()
	if err != nil {
		return nil, err
	}
	bind := []byte(key)
	out := append(p.object[:0], s.Header[:]...)
	s.Seal(out, metaBox, bind, meta)
	p.pieces(func(n, at int, piece []byte) {
		s.Seal(p.object[:at], uint64(n)+1, bind, piece)
	})
	out = p.object
	p.object = nil
	if keys.Encrypted() {
		padded := seal.Padme(len(out) + seal.Overhead)
		out = s.Seal(out, seal.PaddingOrdinal, bind, make([]byte, padded-len(out)-seal.Overhead))
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
