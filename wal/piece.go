package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
)

// How a piece is stored, beside index.Raw and index.Zstd. These are encodings of WAL
// objects only. A piece is predicted or not, and then compressed in one of two ways: by
// zstd, or by S2 and then, what is much less, by zstd or its second half, which takes half
// of the time.
const (
	encodingPredicted      index.Encoding = 3 // zstd
	encodingQuick          index.Encoding = 4 // S2 and Huffman
	encodingQuickPredicted index.Encoding = 5
)

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

// pieceEncoder encodes pieces. It is not safe for concurrent use. Its memory is used
// again and again: to touch fresh memory takes longer than to compress what is in it.
type pieceEncoder struct {
	zstd    *compress.Encoder
	quick   bool // S2 comes first, and zstd or Huffman's method then
	hurry   bool // with that, what takes long for what it saves is left out
	decoder pieceDecoder
	predictor
	coder
	skip     int    // of how many blocks it is taken for granted that they are as the one before:
	repeated bool   // whether that repeated itself
	raw      []byte // the piece, changed by encode
	original []byte // the piece as it was, where that is needed
	s2       []byte
	out      []byte
	check    []byte
}

// errUnlike: what was encoded does not decode to what it was made of.
var errUnlike = errors.New("compress: what was compressed does not decompress to the same bytes: " +
	"this machine's memory or processor is not to be trusted")

// encode returns encoding and payload of the piece in e.raw, and makes sure that it can
// be had back: what the payload decompresses to is compared with what was compressed.
// What was predicted is put back and compared, too, but for where it was exact, and it
// follows that it can be. The result is valid until the next call.
func (e *pieceEncoder) encode(where place) ([]byte, error) {
	raw := e.raw
	predicted, exact := false, false
	if where.pageSize > 0 && !isZero(raw) {
		e.reset(raw, where.at, where.pageSize)
		if exact = e.predictExact(); exact {
			predicted = true
		} else {
			e.original = append(e.original[:0], raw...)
			e.reset(raw, where.at, where.pageSize)
			if predicted = e.predict(); !predicted {
				copy(raw, e.original)
			}
		}
	}
	encoding := e.compress(predicted)
	if encoding == index.Raw {
		if exact {
			e.restore()
		} else if predicted {
			copy(raw, e.original)
		}
		e.out = append(append(e.out[:0], byte(index.Raw)), raw...)
		return e.out, nil
	}
	e.out[0] = byte(encoding)
	check, err := e.decoder.unpack(encoding, e.out[1:], e.check, len(raw))
	if err != nil || !bytes.Equal(check, raw) {
		return nil, errUnlike
	}
	e.check = check
	if predicted && !exact {
		e.decoder.reset(check, where.at, where.pageSize)
		e.decoder.restore()
		if !bytes.Equal(check, e.original) {
			return nil, errUnlike
		}
	}
	return e.out, nil
}

// compress puts the payload into e.out, behind a byte for the encoding, which it
// returns. It is raw, and there is no payload, if that does not save at least 1/32.
func (e *pieceEncoder) compress(predicted bool) index.Encoding {
	e.out = append(e.out[:0], 0)
	if !e.quick {
		out, encoding := e.zstd.Encode(e.out, e.raw)
		e.out = out
		if encoding == index.Zstd && predicted {
			return encodingPredicted
		}
		return encoding
	}
	if len(e.raw) == 0 {
		return index.Raw
	}
	if need := s2.MaxEncodedLen(len(e.raw)); len(e.s2) < need {
		e.s2 = make([]byte, need)
	}
	block := s2.Encode(e.s2, e.raw)
	e.out = slices.Grow(e.out, spare(len(block), len(e.raw)))
	e.out = binary.LittleEndian.AppendUint32(e.out, uint32(len(block)))
	if !e.repeats(block) {
		e.out = e.coder.encode(e.out, block)
	} else if out, encoding := e.zstd.Encode(e.out, block); encoding == index.Zstd {
		e.out = out
	} else {
		e.out = e.coder.encode(e.out, block)
	}
	if len(e.out)-1 > len(e.raw)-len(e.raw)/32 {
		return index.Raw
	}
	if predicted {
		return encodingQuickPredicted
	}
	return encodingQuick
}

// repeats reports whether it is worth while to look for repetitions once more, in an S2 block:
// where records are alike, what S2 makes of them is alike, too, and takes a fraction then.
// In pages of tables there is nothing to be found, and most of the time is spent on those.
func (e *pieceEncoder) repeats(block []byte) bool {
	const sample, skip = 16 << 10, 3
	least := 10 // that must be saved, in hundredths
	switch {
	case e.hurry:
		least = 30 // takes a tenth of the time less, and a twelfth more space
	case len(block) <= len(e.raw)/4: // it takes no time
		return true
	}
	if e.skip > 0 { // neighbours are alike
		e.skip--
		return e.repeated
	}
	middle := block[len(block)/2:]
	middle = middle[:min(len(middle), sample)]
	out, _ := e.zstd.Encode(e.check[:0], middle)
	e.check = out
	than := len(middle)
	if coded := e.code(middle); coded != nil {
		than = len(coded)
	}
	e.repeated = len(out) < than-than*least/100
	if e.hurry || !e.repeated {
		e.skip = skip
	}
	return e.repeated
}

// spare returns how much memory to take for n bytes that are made of a piece of length
// bytes, so that it does for the next, too. What is not touched costs nothing.
func spare(n, length int) int { return max(n+n/4, length/2) + compress.Slack }

func isZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// pieceDecoder decodes pieces. It is not safe for concurrent use, and has memory that it
// uses again.
type pieceDecoder struct {
	zstd *compress.Decoder
	predictor
	plain []byte // of a box
	s2    []byte
}

// decode returns the content of a piece, which is an encoding and a payload: length
// bytes, in dst's memory if there is room. What lies behind them there may change.
func (d *pieceDecoder) decode(where place, piece, dst []byte, length int) ([]byte, error) {
	if len(piece) == 0 {
		return nil, fmt.Errorf("%w: it is empty", repo.ErrDamaged)
	}
	encoding := index.Encoding(piece[0])
	predicted := encoding == encodingPredicted || encoding == encodingQuickPredicted
	if predicted && where.pageSize == 0 {
		return nil, fmt.Errorf("%w: encoding %d of what is no segment", repo.ErrDamaged, encoding)
	}
	raw, err := d.unpack(encoding, piece[1:], dst, length)
	if err == nil && predicted {
		d.reset(raw, where.at, where.pageSize)
		d.restore()
	}
	return raw, err
}

// unpack is decode without what was predicted.
func (d *pieceDecoder) unpack(encoding index.Encoding, payload, dst []byte, length int) ([]byte, error) {
	switch encoding {
	case index.Raw:
		if len(payload) != length {
			return nil, fmt.Errorf("%w: %d bytes, want %d", repo.ErrDamaged, len(payload), length)
		}
		return append(dst[:0], payload...), nil
	case index.Zstd, encodingPredicted:
		raw, err := d.zstd.Decode(dst[:0], payload, index.Zstd, length)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", repo.ErrDamaged, err)
		}
		return raw, nil
	case encodingQuick, encodingQuickPredicted:
		return d.unpackQuick(payload, dst, length)
	default:
		return nil, fmt.Errorf("encoding %d: %w", encoding, repo.ErrNewer)
	}
}

func (d *pieceDecoder) unpackQuick(payload, dst []byte, length int) ([]byte, error) {
	if len(payload) < 4 {
		return nil, fmt.Errorf("%w: %d bytes", repo.ErrDamaged, len(payload))
	}
	size := binary.LittleEndian.Uint32(payload)
	if length > maxPiece || size == 0 || int64(size) > int64(s2.MaxEncodedLen(length)) {
		return nil, fmt.Errorf("%w: claims an S2 block of %d bytes", repo.ErrDamaged, size)
	}
	if want := int(size) + compress.Slack; cap(d.s2) < want {
		d.s2 = make([]byte, 0, spare(want, length))
	}
	block, err := d.zstd.Decode(d.s2[:0], payload[4:], index.Zstd, int(size))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", repo.ErrDamaged, err)
	}
	d.s2 = block
	if n, err := s2.DecodedLen(block); err != nil || n != length {
		return nil, fmt.Errorf("%w: an S2 block of %d bytes, want %d", repo.ErrDamaged, n, length)
	}
	if cap(dst) < length+compress.Slack {
		dst = make([]byte, length+compress.Slack)
	}
	raw, err := s2.Decode(dst[:length], block)
	if err != nil {
		return nil, fmt.Errorf("%w: S2: %w", repo.ErrDamaged, err)
	}
	return raw, nil
}
