package manifest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/gpdedup/gpdedup/repo/seal"
)

// Head is what a manifest says of its stream without the list of its chunks, whose
// length has no bound.
type Head struct {
	Kind     Kind
	Wrapping Wrapping
	Length   uint64 // of the content, unwrapped, in bytes
	Origin   Origin
	Stats    Stats
}

// Head returns what m says of its stream. It refers to nothing else of m.
func (m *Manifest) Head() Head {
	return Head{Kind: m.Kind, Wrapping: m.Wrapping, Length: m.Length, Origin: m.Origin, Stats: m.Stats}
}

// DecodeHead reads the beginning of what Append wrote. It does not look at the list of
// chunks, nor at whether that agrees with the length.
func DecodeHead(data []byte) (Head, error) {
	m, _, err := decodeHead(data)
	if err != nil {
		return Head{}, err
	}
	return m.Head(), nil
}

// decodeHead reads everything before the list of chunks, and returns the rest.
func decodeHead(data []byte) (*Manifest, []byte, error) {
	if len(data) < fixedSize {
		return nil, nil, fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	if data[0] != encodingVersion || Kind(data[1]) > Checkpoint || Wrapping(data[2]) > Zstd || data[3]&^flagTail != 0 {
		return nil, nil, fmt.Errorf("manifest of version %d, kind %d, wrapping %d, flags %d: %w",
			data[0], data[1], data[2], data[3], seal.ErrNewer)
	}
	m := &Manifest{Kind: Kind(data[1]), Wrapping: Wrapping(data[2]), Length: binary.LittleEndian.Uint64(data[4:])}
	copy(m.Identity[:], data[12:])
	flags := data[3]
	if data = data[fixedSize:]; flags&flagTail != 0 {
		if len(data) < 8 {
			return nil, nil, fmt.Errorf("%w: cut short", ErrCorrupt)
		}
		if m.Tail, data = binary.LittleEndian.Uint64(data), data[8:]; m.Tail == 0 {
			return nil, nil, fmt.Errorf("%w: a tail of no bytes", ErrCorrupt)
		}
	}
	meta, data, err := takeBytes(data)
	if err != nil {
		return nil, nil, err
	}
	var about info
	if err := json.Unmarshal(meta, &about); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	m.Origin, m.Stats, m.Source = about.Origin, about.Stats, about.Source
	return m, data, nil
}
