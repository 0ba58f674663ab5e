package index

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// The bucket filter: which numbers the bucket features may have, for nearly all that a
// generation is asked for it has not. Without it each generation would cost as much as
// the one that has the chunk.
//
// It is a Bloom filter in blocks (Putze, Sanders and Singler, "Cache-, hash- and
// space-efficient Bloom filters", WEA 2007): a number belongs to one block of 64 bytes,
// by where it lies in the range of all, and to some bits of it. So a look-up touches
// one place, and a builder, who has the numbers in rising order, one block at a time.
// Six bits of 480 and about 40 numbers a block let one in 200 pass that is not there.
// Each block ends with a checksum of its own, as rows do.
//
//	segment, u32 big-endian -> its blocks: 60 bytes of bits, CRC u32
//
// Segments are of filterSegment blocks, all but the last: a reader keeps where each
// begins and needs no tree to find a block.
const (
	filterBlock   = 64
	filterData    = filterBlock - checksumLen
	filterRows    = 40 // numbers a block, on average
	filterProbes  = 6
	filterSegment = 1 << 14 // blocks: 1 MiB
)

// filterBlocks is how many blocks so many numbers need.
func filterBlocks(numbers uint64) uint32 {
	return uint32(min((numbers+filterRows-1)/filterRows, 1<<31))
}

// filterPlace is the block of a number.
func filterPlace(number uint64, blocks uint32) uint32 {
	place, _ := bits.Mul64(number, uint64(blocks))
	return uint32(place)
}

// filterBits are the bits of a number in its block. Each is made of nine bits of the
// number's product with an odd constant.
func filterBits(number uint64) (at [filterProbes]uint32) {
	h := number * 0x9E3779B97F4A7C15
	for i := range at {
		at[i] = uint32(h>>55) * (filterData * 8) >> 9
		h <<= 9
	}
	return at
}

// filterWriter makes the bucket out of numbers that rise.
type filterWriter struct {
	w       *writer
	segment []byte
	number  uint32 // of the segment
	block   [filterData]byte
	place   uint32 // of block
}

// add takes a number.
func (f *filterWriter) add(number uint64) error {
	for place := filterPlace(number, f.w.sum.filterBlocks); f.place < place; {
		if err := f.next(); err != nil {
			return err
		}
	}
	for _, at := range filterBits(number) {
		f.block[at/8] |= 1 << (at % 8)
	}
	return nil
}

// next ends the block.
func (f *filterWriter) next() error {
	f.segment = append(f.segment, f.block[:]...)
	f.segment = binary.LittleEndian.AppendUint32(f.segment, checksum(f.w.sum.salt, f.block[:]))
	f.block = [filterData]byte{}
	f.place++
	if len(f.segment) < filterSegment*filterBlock && f.place < f.w.sum.filterBlocks {
		return nil
	}
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], f.number)
	err := f.w.put(filterBucket, key[:], f.segment)
	f.segment = f.segment[:0]
	f.number++
	return err
}

// finish ends what is left.
func (f *filterWriter) finish() error {
	for f.place < f.w.sum.filterBlocks {
		if err := f.next(); err != nil {
			return err
		}
	}
	return nil
}

// readFilter finds the segments of the filter.
func (g *generation) readFilter(top page) error {
	root, err := g.tree.bucket(top, filterBucket)
	if err != nil {
		return err
	}
	for left := g.filterBlocks; left > 0; {
		n := min(left, filterSegment)
		var key [4]byte
		binary.BigEndian.PutUint32(key[:], uint32(len(g.filter)))
		segment, _, found, err := g.tree.get(root, key[:])
		if err != nil {
			return err
		}
		if !found || len(segment) != int(n)*filterBlock {
			return fmt.Errorf("%w: segment %d of the filter has %d bytes", errDamaged, len(g.filter), len(segment))
		}
		g.filter = append(g.filter, segment)
		left -= n
	}
	return nil
}

// mayHave reports whether the bucket features may have the number. That it has not is
// certain.
func (g *generation) mayHave(number uint64) (bool, error) {
	if g.filterBlocks == 0 {
		return false, nil
	}
	place := filterPlace(number, g.filterBlocks)
	block := (*[filterBlock]byte)(g.filter[place/filterSegment][place%filterSegment*filterBlock:])
	if checksum(g.salt, block[:filterData]) != binary.LittleEndian.Uint32(block[filterData:]) {
		return false, fmt.Errorf("%w: checksum mismatch in the filter", errDamaged)
	}
	for _, at := range filterBits(number) {
		if block[at/8]&(1<<(at%8)) == 0 {
			return false, nil
		}
	}
	return true, nil
}
