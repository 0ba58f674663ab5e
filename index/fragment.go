package index

import (
	"encoding/binary"
	"fmt"

	"github.com/gpdedup/gpdedup/digest"
)

// AppendFragment appends the payload of an index fragment, the directories of the
// packs it names, to dst. Sealing it is the repository's business.
func AppendFragment(dst []byte, packs []Pack) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(packs)))
	for i := range packs {
		p := &packs[i]
		dst = append(dst, p.ID[:]...)
		dst = binary.LittleEndian.AppendUint32(dst, p.Size)
		dst = AppendEntries(dst, p.Entries)
	}
	return dst
}

// DecodeFragment reads what AppendFragment wrote.
func DecodeFragment(data []byte) ([]Pack, error) {
	n, data, ok := takeUint32(data)
	if !ok {
		return nil, fmt.Errorf("%w: pack count is cut short", ErrCorrupt)
	}
	if uint64(n)*packSize > uint64(len(data)) {
		return nil, fmt.Errorf("%w: %d packs do not fit in %d bytes", ErrCorrupt, n, len(data))
	}
	packs := make([]Pack, n)
	for i := range packs {
		if len(data) < packSize {
			return nil, fmt.Errorf("%w: pack %d of %d is cut short", ErrCorrupt, i, n)
		}
		copy(packs[i].ID[:], data)
		packs[i].Size = binary.LittleEndian.Uint32(data[digest.Size:])
		var err error
		if packs[i].Entries, data, err = DecodeEntries(data[digest.Size+4:]); err != nil {
			return nil, fmt.Errorf("pack %s: %w", packs[i].ID.Short(), err)
		}
		var boxes uint64
		for k := range packs[i].Entries {
			boxes += uint64(packs[i].Entries[k].Stored)
		}
		if boxes > uint64(packs[i].Size) {
			return nil, fmt.Errorf("%w: pack %s is shorter than its chunks", ErrCorrupt, packs[i].ID.Short())
		}
	}
	if len(data) != 0 {
		return nil, fmt.Errorf("%w: %d bytes follow the last pack", ErrCorrupt, len(data))
	}
	return packs, nil
}
