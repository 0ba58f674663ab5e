package seal

import (
	"encoding/binary"
	"fmt"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
)

// A document is an object of one box: manifests, fragments and the lists under
// gc/. Inside the box lies its payload, compressed where that helps, behind a
// small prefix, and in an encrypted repository padding.
const (
	documentPrefix = 1 + 4 + 4 // encoding, raw length, stored length

	// MaxDocument bounds a document, its payload and the whole object, in bytes.
	MaxDocument = index.MaxChunk
)

// Compressor is what documents need of compress.Encoder; nil stores them raw.
type Compressor interface {
	Encode(dst, raw []byte) ([]byte, index.Encoding)
}

var _ Compressor = (*compress.Encoder)(nil)

// SealDocument returns the object that holds payload. bind is the object's key
// where that is deterministic, so that it cannot be replayed under another name;
// empty where the object's name is the hash of its bytes.
func (k *Keys) SealDocument(kind Kind, bind string, payload []byte, c Compressor) ([]byte, error) {
	if len(payload) > MaxDocument {
		return nil, fmt.Errorf("%s of %d bytes is longer than %d", kind, len(payload), MaxDocument)
	}
	s, err := k.NewObject(kind)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, documentPrefix, documentPrefix+len(payload)+64)
	encoding := index.Raw
	if c != nil {
		plain, encoding = c.Encode(plain, payload)
	} else {
		plain = append(plain, payload...)
	}
	plain[0] = byte(encoding)
	binary.LittleEndian.PutUint32(plain[1:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(plain[5:], uint32(len(plain)-documentPrefix))
	if k.Encrypted() {
		plain = append(plain, make([]byte, Padme(len(plain))-len(plain))...)
	}
	if n := HeaderSize + len(plain) + Overhead; n > MaxDocument {
		return nil, fmt.Errorf("%s of %d bytes is longer than %d", kind, n, MaxDocument) // no reader would take it
	}
	out := make([]byte, 0, HeaderSize+len(plain)+Overhead)
	out = append(out, s.Header[:]...)
	return s.Seal(out, DocumentBox, []byte(bind), plain), nil
}

// OpenDocument returns the payload of a document, with the same kind and bind.
func (k *Keys) OpenDocument(kind Kind, bind string, object []byte, d *compress.Decoder) ([]byte, error) {
	s, err := k.OpenObject(kind, object)
	if err != nil {
		return nil, err
	}
	plain, err := s.Open(nil, DocumentBox, []byte(bind), object[HeaderSize:])
	if err != nil {
		return nil, err
	}
	if len(plain) < documentPrefix {
		return nil, fmt.Errorf("%w: %s of %d bytes", ErrDamaged, kind, len(plain))
	}
	encoding := index.Encoding(plain[0])
	raw := binary.LittleEndian.Uint32(plain[1:])
	stored := binary.LittleEndian.Uint32(plain[5:])
	body := plain[documentPrefix:]
	if uint64(stored) > uint64(len(body)) || raw > MaxDocument {
		return nil, fmt.Errorf("%w: %s claims %d bytes of %d", ErrDamaged, kind, stored, len(body))
	}
	for _, b := range body[stored:] {
		if b != 0 {
			return nil, fmt.Errorf("%w: %s has padding that is not zero", ErrDamaged, kind)
		}
	}
	if encoding == index.Raw {
		if raw != stored {
			return nil, fmt.Errorf("%w: %s claims %d bytes of %d", ErrDamaged, kind, raw, stored)
		}
		return body[:stored:stored], nil
	}
	payload, err := d.Decode(nil, body[:stored], encoding, int(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, kind, err)
	}
	return payload, nil
}
