package index

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// The bucket features: which chunk has a super-feature, the newest of those that do.
//
// Its keys would be random numbers and its rows three times as many as chunks, so
// they do not lie in the tree one by one. As many high bits of the number as make
// groups of about 256 name a group, which is one value: its rows in rising order,
// back to back, found by where the number lies in the group's range. A look-up goes
// down a low tree and reads a few lines of the group, whose rows each carry their own
// checksum, so that not all of it need be read to trust one.
//
//	group, the high bits, u32 big-endian -> rows of
//	number u64, chunk 16 (the front of its id), CRC u32
//
// The number is the super-feature's position among the three and its value, mixed
// with the generation's salt: groups are of even length whatever the fragments say.

const (
	superFeatures  = 3
	featureRowSize = 8 + keySize + checksumLen
	groupRows      = 256 // on average
	// maxGroupRows bounds what a builder holds of one group. Even a group of twice
	// the average is rare; a number that is left out is a miss.
	maxGroupRows   = 8 * groupRows
	maxFeatureBits = 32
)

// featureBits returns how many high bits name a group, of so many numbers.
func featureBits(rows uint64) uint8 {
	return uint8(min(bits.Len64(rows/groupRows), maxFeatureBits))
}

// featureNumber mixes a super-feature, number i of the three. The mixing is a
// permutation (the finalizer of MurmurHash3 by Appleby): nothing gets lost.
func featureNumber(salt uint32, i int, super uint64) uint64 {
	x := super + (uint64(salt)<<2|uint64(i))*0x9E3779B97F4A7C15
	x = (x ^ x>>33) * 0xFF51AFD7ED558CCD
	x = (x ^ x>>33) * 0xC4CEB9FE1A85EC53
	return x ^ x>>33
}

// featureGroup returns the group of a number.
func featureGroup(number uint64, groupBits uint8) uint32 { return uint32(number >> (64 - groupBits)) }

func appendFeatureRow(dst []byte, salt uint32, number uint64, key []byte) []byte {
	from := len(dst)
	dst = append(binary.LittleEndian.AppendUint64(dst, number), key...)
	return binary.LittleEndian.AppendUint32(dst, checksum(salt, dst[from:]))
}

// findFeature returns the front of the id of the chunk that the number stands for.
// The row lies in s: what was verified cannot change any more.
func (g *generation) findFeature(number uint64, s *scratch) (key []byte, found bool, err error) {
	binary.BigEndian.PutUint32(s.key[:], featureGroup(number, g.featureBits))
	group, _, found, err := g.tree.get(g.features, s.key[:])
	if err != nil || !found {
		return nil, false, err
	}
	n := len(group) / featureRowSize
	if n == 0 || n > maxGroupRows || len(group)%featureRowSize != 0 {
		return nil, false, fmt.Errorf("%w: group of %d bytes", errDamaged, len(group))
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(group[i*featureRowSize:]) }
	// Numbers are evenly spread, so the place is nearly known; how far the number there
	// is from this one says how many rows to go; what is left goes row by row.
	span := func(numbers uint64) int {
		rows, _ := bits.Mul64(numbers<<g.featureBits, uint64(n))
		return int(rows)
	}
	i := span(number)
	if there := at(i); featureGroup(there, g.featureBits) == featureGroup(number, g.featureBits) {
		if there > number {
			i = max(0, i-span(there-number))
		} else {
			i = min(n-1, i+span(number-there))
		}
	}
	for i > 0 && at(i) > number {
		i--
	}
	for i < n-1 && at(i) < number {
		i++
	}
	if at(i) != number {
		return nil, false, nil
	}
	row := s.row[:copy(s.row[:], group[i*featureRowSize:])]
	sum := binary.LittleEndian.Uint32(row[featureRowSize-checksumLen:])
	row = row[:featureRowSize-checksumLen]
	if checksum(g.salt, row) != sum || binary.LittleEndian.Uint64(row) != number {
		return nil, false, fmt.Errorf("%w: checksum mismatch", errDamaged)
	}
	return row[8:], true, nil
}
