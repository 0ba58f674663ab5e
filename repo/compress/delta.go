package compress

import (
	"encoding/binary"
	"fmt"

	"github.com/gpdedup/gpdedup/delta"
	"github.com/gpdedup/gpdedup/index"
)

// A delta's payload is a prefix, how the delta is compressed and how long it is,
// and then the delta.
const deltaPrefix = 1 + 4

// EncodeDelta appends the payload that stores d to dst.
func (e *Encoder) EncodeDelta(dst, d []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, deltaPrefix)...)
	dst, encoding := encode(e.delta, dst, d)
	dst[at] = byte(encoding)
	binary.LittleEndian.PutUint32(dst[at+1:], uint32(len(d)))
	return dst
}

// DeltaMemory returns how many bytes of memory Delta needs for the payload, so that it
// need not make them; 0 if it will refuse the payload.
func DeltaMemory(payload []byte) int {
	if len(payload) < deltaPrefix {
		return 0
	}
	if n := binary.LittleEndian.Uint32(payload[1:]); n <= index.MaxChunk {
		return int(n) + Slack
	}
	return 0
}

// Delta appends the delta that is in payload to dst.
func (d *Decoder) Delta(dst, payload []byte) ([]byte, error) {
	if len(payload) < deltaPrefix {
		return nil, fmt.Errorf("%w: a delta of %d bytes", ErrDecode, len(payload))
	}
	if index.Encoding(payload[0]) > index.Zstd {
		return nil, fmt.Errorf("%w: compressed in way %d", delta.ErrNewer, payload[0])
	}
	n := binary.LittleEndian.Uint32(payload[1:])
	if n > index.MaxChunk {
		return nil, fmt.Errorf("%w: a delta that claims %d bytes", ErrDecode, n)
	}
	return d.Decode(dst, payload[deltaPrefix:], index.Encoding(payload[0]), int(n))
}

// DecodeDelta appends the content, which is exactly raw bytes long, that payload
// makes of base to dst. scratch is memory for the delta; it is returned, perhaps
// grown.
func (d *Decoder) DecodeDelta(dst, scratch, payload, base []byte, raw int) (out, memory []byte, err error) {
	if raw < 0 || raw > index.MaxChunk {
		return nil, scratch, fmt.Errorf("%w: a delta that claims %d bytes", ErrDecode, raw)
	}
	raws, err := d.Delta(scratch[:0], payload)
	if err != nil {
		return nil, scratch, err
	}
	if out, err = delta.Decode(grow(dst, raw+Slack), base, raws, raw); err != nil {
		return nil, raws, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return out, raws, nil
}
