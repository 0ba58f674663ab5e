package delta

import (
	"encoding/binary"
	"math/bits"
)

// Version is the encoding's version, the first byte of every delta.
const Version = 1

const (
	// word is how many bytes must agree before a copy is considered.
	word = 8
	// stride is the distance of the base's positions that the table holds. A
	// stretch of word+stride-1 equal bytes is always found.
	stride = 4
	// minCopy is the shortest copy worth an instruction where the base goes on after a
	// change.
	minCopy = 16
	// minFar is the same for a copy from elsewhere in the base. Short ones are words and
	// dates that rows have in common: to say where they are takes as much as they do
	// themselves once they are compressed, and is looked up slowly by whoever applies
	// the delta. On table text with 1.3 % of the rows changed, 32 in place of 12 makes
	// deltas a tenth smaller and leaves a fifth of the instructions.
	minFar = 32
	// maxTableBits bounds the table: 4 bytes for each of 2^17 positions.
	maxTableBits = 17
)

// Encoder makes deltas. It holds the table, so that one encoder after another
// chunk allocates nothing. It is not safe for concurrent use.
type Encoder struct {
	table    []uint32 // 1 + position in the base; 0: none
	shift    uint
	ops      []byte
	literals []byte
	longest  int // copy of the last delta
	moved    int // of that copy: its place in target minus its place in base
	copies   int // of the last delta
	copied   int // bytes of these
}

// Shift returns by how much the longest stretch that the last delta copied lies
// further along in the target than in the base.
func (e *Encoder) Shift() int { return e.moved }

// Copied returns how many bytes the last delta copies, in how many stretches.
func (e *Encoder) Copied() (bytes, copies int) { return e.copied, e.copies }

// Encode appends the delta that makes target out of base to dst. It gives up, and
// returns dst and false, once the delta is longer than limit bytes: then it is no
// use, and the time is better spent otherwise.
func (e *Encoder) Encode(dst, base, target []byte, limit int) ([]byte, bool) {
	e.index(base)
	e.ops, e.literals = e.ops[:0], e.literals[:0]
	e.longest, e.moved, e.copies, e.copied = 0, 0, 0, 0
	count := 0
	end := 0  // in base, of the copy before
	from := 0 // in target, of what is not described yet
	for at := 0; at+word <= len(target); {
		// In place, right after a change, the base goes on where it would have
		// without it; else the table says.
		b := end + at - from
		if b+word > len(base) || load(base, b) != load(target, at) {
			b = e.find(base, target, at)
		}
		if b < 0 {
			// The longer nothing is found, the faster on: what is unlike the base
			// as a whole must not cost much.
			at += 1 + (at-from)>>9
			if len(e.ops)+len(e.literals)+at-from > limit {
				return dst, false
			}
			continue
		}
		start := at
		for start > from && b > 0 && target[start-1] == base[b-1] {
			start, b = start-1, b-1
		}
		n := at - start + word
		n += matchLen(base[b+n:], target[start+n:])
		if n < minCopy || n < minFar && b != end+start-from {
			at++
			continue
		}
		if n > e.longest {
			e.longest, e.moved = n, start-b
		}
		e.emit(target[from:start], n, b-end)
		count++
		e.copies, e.copied = e.copies+1, e.copied+n
		end, from = b+n, start+n
		at = from
	}
	if from < len(target) {
		e.emit(target[from:], 0, 0)
		count++
	}
	if 1+2*binary.MaxVarintLen32+len(e.ops)+len(e.literals) > limit {
		return dst, false
	}
	dst = append(dst, Version)
	dst = binary.AppendUvarint(dst, uint64(count))
	dst = binary.AppendUvarint(dst, uint64(len(e.ops)))
	dst = append(dst, e.ops...)
	return append(dst, e.literals...), true
}

func (e *Encoder) emit(literal []byte, length, where int) {
	e.ops = binary.AppendUvarint(e.ops, uint64(len(literal)))
	e.ops = binary.AppendUvarint(e.ops, uint64(length))
	if length > 0 {
		e.ops = binary.AppendVarint(e.ops, int64(where))
	}
	e.literals = append(e.literals, literal...)
}

// index fills the table with positions of the base.
func (e *Encoder) index(base []byte) {
	want := min(maxTableBits, max(8, bits.Len(uint(len(base)/stride))+1))
	if size := 1 << want; cap(e.table) < size {
		e.table = make([]uint32, size)
	} else {
		e.table = e.table[:size]
		clear(e.table)
	}
	e.shift = uint(64 - want)
	if len(base) < word {
		return
	}
	// Backwards, so that of equal words the first is found.
	for i := (len(base) - word) / stride * stride; i >= 0; i -= stride {
		e.table[hash(load(base, i))>>e.shift] = uint32(i) + 1
	}
}

// find returns a position of the base with the word at target[at:], or -1.
func (e *Encoder) find(base, target []byte, at int) int {
	w := load(target, at)
	b := int(e.table[hash(w)>>e.shift]) - 1
	if b < 0 || load(base, b) != w {
		return -1
	}
	return b
}

func load(p []byte, i int) uint64 { return binary.LittleEndian.Uint64(p[i:]) }

// hash is Fibonacci hashing; the high bits are the good ones.
func hash(w uint64) uint64 { return w * 0x9E3779B97F4A7C15 }

// matchLen returns how many bytes a and b have in common at their beginning.
func matchLen(a, b []byte) int {
	n := 0
	for len(a) >= 8 && len(b) >= 8 {
		if x := binary.LittleEndian.Uint64(a) ^ binary.LittleEndian.Uint64(b); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		a, b = a[8:], b[8:]
		n += 8
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return n + i
		}
	}
	return n + min(len(a), len(b))
}
