package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// Of a WAL object a copy needs to know where its boxes are, and what they must give. All
// else in its metadata travels as it is. See docs/format.md.
const (
	walMeta      = 4096 // where the metadata box ends
	walFile      = 1    // offsets in the metadata
	walTimeline  = 8
	walLength    = 40
	walHash      = 48
	walPiece     = 80
	walPieces    = 84
	walBoxes     = 88
	maxWALPieces = 256
)

// openWALMeta opens the metadata of a WAL object.
func (r *Repo) openWALMeta(key string, front []byte) (*seal.Sealer, []byte, error) {
	if len(front) < walMeta {
		return nil, nil, fmt.Errorf("%w: a WAL object of %d bytes", ErrDamaged, len(front))
	}
	s, err := r.keys.OpenObject(seal.WAL, front)
	if err != nil {
		return nil, nil, err
	}
	meta, err := s.Open(nil, seal.DocumentBox, []byte(key), front[seal.HeaderSize:walMeta])
	if err != nil {
		return nil, nil, err
	}
	if meta[0] == 0 {
		return nil, nil, fmt.Errorf("%w: metadata of version 0", ErrDamaged)
	}
	if meta[0] > 1 || meta[2] != 0 || meta[3] != 0 {
		return nil, nil, fmt.Errorf("WAL object of version %d, flags %x: %w", meta[0], meta[2:4], ErrNewer)
	}
	if n := binary.LittleEndian.Uint32(meta[walPieces:]); n > maxWALPieces {
		return nil, nil, fmt.Errorf("%w: %d pieces", ErrDamaged, n)
	}
	return s, meta, nil
}

// describeWAL returns what two WAL objects of one key have in common if they hold the same
// file: kind of file, timelines, system identifier and so on, length and hash.
func describeWAL(ctx context.Context, r *Repo, key string) ([]byte, error) {
	front := make([]byte, walMeta)
	if err := r.st.Read(ctx, key, 0, front); err != nil {
		return nil, err
	}
	_, meta, err := r.openWALMeta(key, front)
	if err != nil {
		return nil, err
	}
	return append([]byte{meta[walFile]}, meta[walTimeline:walPiece]...), nil
}

// resealWAL returns a WAL object of one repository as one of another, having checked it
// down to the hash of the file that it holds.
func resealWAL(from, to *Repo, key string, object []byte) ([]byte, error) {
	opened, meta, err := from.openWALMeta(key, object)
	if err != nil {
		return nil, err
	}
	bind := []byte(key)
	sealed, err := to.keys.NewObject(seal.WAL)
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(object)+2*seal.Overhead), sealed.Header[:]...)
	out = sealed.Seal(out, seal.DocumentBox, bind, meta)
	le := binary.LittleEndian
	size, left := uint64(le.Uint32(meta[walPiece:])), le.Uint64(meta[walLength:])
	hash := blake3.New()
	var plain, content []byte
	at := walMeta
	for i := range le.Uint32(meta[walPieces:]) {
		n := int(le.Uint32(meta[walBoxes+4*i:]))
		if n > len(object)-at {
			return nil, fmt.Errorf("%w: piece %d is cut short", ErrDamaged, i+1)
		}
		if plain, err = opened.Open(plain[:0], uint64(i)+1, bind, object[at:at+n]); err != nil {
			return nil, fmt.Errorf("piece %d: %w", i+1, err)
		}
		at += n
		if len(plain) == 0 {
			return nil, fmt.Errorf("%w: piece %d is empty", ErrDamaged, i+1)
		}
		raw := min(size, left)
		left -= raw
		if index.Encoding(plain[0]) > index.Zstd {
			return nil, fmt.Errorf("piece %d: encoding %d: %w", i+1, plain[0], ErrNewer)
		}
		if content, err = from.dec.Decode(content[:0], plain[1:], index.Encoding(plain[0]), int(min(raw, index.MaxChunk+1))); err != nil {
			return nil, fmt.Errorf("piece %d: %w", i+1, decodeError(err))
		}
		_, _ = hash.Write(content) // never fails
		out = sealed.Seal(out, uint64(i)+1, bind, plain)
	}
	if left != 0 || !bytes.Equal(hash.Sum(nil), meta[walHash:walPiece]) {
		return nil, fmt.Errorf("%w: the file's hash is not the recorded one", ErrDamaged)
	}
	if to.keys.Encrypted() {
		n := len(out) + seal.Overhead
		out = sealed.Seal(out, seal.PaddingOrdinal, bind, make([]byte, seal.Padme(n)-n))
	}
	return out, to.verifyWAL(key, out, meta)
}

// verifyWAL opens what was sealed once more: nothing else compares it with what came.
func (r *Repo) verifyWAL(key string, object, meta []byte) error {
	s, back, err := r.openWALMeta(key, object)
	at := walMeta
	for i := 0; err == nil && i < int(binary.LittleEndian.Uint32(meta[walPieces:])); i++ {
		n := int(binary.LittleEndian.Uint32(meta[walBoxes+4*i:]))
		_, err = s.Open(nil, uint64(i)+1, []byte(key), object[at:at+n])
		at += n
	}
	if err != nil || !bytes.Equal(back, meta) {
		return fmt.Errorf("seal %s: what was sealed does not open to the same bytes: "+
			"this machine's memory or processor is not to be trusted", key)
	}
	return nil
}

// describeDocument returns the payload of a document, whatever its kind.
func describeDocument(ctx context.Context, r *Repo, key string) ([]byte, error) {
	object, err := r.get(ctx, key, seal.MaxDocument)
	if err != nil {
		return nil, err
	}
	return r.keys.OpenDocument(documentKind(object), key, object, r.dec)
}

// documentKind returns the kind that an object says it is of.
func documentKind(object []byte) seal.Kind {
	if len(object) < seal.HeaderSize {
		return 0 // and so no document
	}
	h := seal.Header(object[:seal.HeaderSize])
	return h.Kind()
}

// resealDocument returns a document of one repository as one of another.
func resealDocument(from, to *Repo, key string, object []byte) ([]byte, error) {
	payload, err := from.keys.OpenDocument(documentKind(object), key, object, from.dec)
	if err != nil {
		return nil, err
	}
	return to.keys.SealDocument(documentKind(object), key, payload, nil)
}
