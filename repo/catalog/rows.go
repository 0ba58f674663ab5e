package catalog

import (
	"cmp"
	"iter"
	"math"
	"math/bits"
	"slices"
)

// row is one copy of a chunk.
type row struct {
	id     Key
	base   int32 // if it is a delta: see rows
	pack   int32
	stored uint32 // bytes of its box
	raw    length // of its content
	depth  uint8
	flags  uint8
}

// length is a number of bytes to 11 significant bits, in the space that is left in a row.
type length uint16

func lengthOf(n uint32) length {
	shift := max(bits.Len32(n), 11) - 11
	return length(n>>shift) | length(shift)<<11
}

func (l length) bytes() uint32 { return uint32(l&(1<<11-1)) << (l >> 11) }

const (
	isDelta  = 1 << iota
	rooted   // by a manifest or checkpoint
	needed   // a base, transitively, of a rooted chunk
	held     // a base, transitively, of a chunk in a pack that stays
	firm     // live, and not only because of copies in packs that are condemned
	answered // whether it counts is known
	counts   // it is a location that counts
	recode   // it is to be encoded anew
)

// rows are all copies, in the order of their names, in buckets by the first bits of these:
// so they grow, and new ones find their places, without twice the memory of all.
//
// A row's number is its bucket's and its place in that. Of a row that is settled base is
// the number of the base's first row or, if there is none, -1 - a number in strange; of one
// that is new, newBase and the place of the base's name in its bucket's bases.
type rows struct {
	buckets [1 << bucketBits]bucket
	strange []Key
	len     int
	fresh   int // new rows that are deltas
	settled int // settled ones
	dirty   bool
}

const (
	bucketBits = 11
	placeBits  = 31 - bucketBits
	newBase    = math.MinInt32 // and places up to half of the numbers below zero
)

type bucket struct {
	rows    []row
	settled int   // how many of them are, and sorted
	bases   []Key // of those that are not
	shifts  []int // while rows are settled: before which of the settled ones new ones came
}

func bucketOf(id Key) int { return int(id[0] >> (32 - bucketBits)) }

// settleAfter is how many new deltas there may be before they are settled: their bases'
// names take nearly half as much as the rows.
const settleAfter = 1 << 20

// add adds a row, and if it is a delta the name of its base.
func (c *rows) add(r row, base Key) {
	b := &c.buckets[bucketOf(r.id)]
	if r.flags&isDelta != 0 {
		r.base = newBase + int32(len(b.bases))
		b.bases = append(b.bases, base)
		c.fresh++
	}
	if n := len(b.rows); n == cap(b.rows) {
		b.rows = append(make([]row, 0, n+max(n/8, 4)), b.rows...)
	}
	b.rows = append(b.rows, r)
	c.len++
	c.dirty = true
	if c.fresh > max(settleAfter, c.settled/4) {
		c.Sort()
	}
}

// Chunks returns the number of copies.
func (c *rows) Chunks() int { return c.len }

// Sort makes the catalog ready for questions after directories were added. What was
// said about a chunk before holds for the copies that are new.
func (c *rows) Sort() {
	if !c.dirty {
		return
	}
	for i := range c.buckets {
		c.buckets[i].merge()
	}
	c.eachRun(func(run []row) {
		var live uint8
		for i := range run {
			live |= run[i].flags & (rooted | needed | held)
		}
		for i := range run {
			run[i].flags |= live
		}
	})
	strange := c.strange
	c.strange = nil
	for i := range c.buckets {
		b := &c.buckets[i]
		for j := range b.rows {
			r := &b.rows[j]
			if r.flags&isDelta == 0 {
				continue
			}
			var id Key
			switch {
			case r.base < newBase/2:
				id = b.bases[r.base-newBase]
			case r.base < 0:
				id = strange[-1-r.base]
			default:
				r.base = c.moved(r.base)
				continue
			}
			if r.base = c.numberOf(id); r.base < 0 {
				c.strange = append(c.strange, id)
				r.base = -int32(len(c.strange))
			}
		}
		b.bases = nil
	}
	for i := range c.buckets {
		c.buckets[i].shifts = nil
	}
	c.settled += c.fresh
	c.fresh, c.dirty = 0, false
}

// merge brings the new rows of the bucket to their places among the others.
func (b *bucket) merge() {
	fresh := slices.Clone(b.rows[b.settled:])
	slices.SortFunc(fresh, compareRows)
	for i := range fresh {
		// Behind all of its name: numbers are those of first rows.
		at, _ := slices.BinarySearchFunc(b.rows[:b.settled], fresh[i].id, func(r row, id Key) int {
			return cmp.Or(compareKeys(r.id, id), -1)
		})
		b.shifts = append(b.shifts, at)
	}
	i, j := b.settled-1, len(fresh)-1
	for k := len(b.rows) - 1; j >= 0; k-- {
		if i >= 0 && compareRows(b.rows[i], fresh[j]) > 0 {
			b.rows[k] = b.rows[i]
			i--
		} else {
			b.rows[k] = fresh[j]
			j--
		}
	}
	b.settled = len(b.rows)
}

func compareRows(a, b row) int {
	return cmp.Or(compareKeys(a.id, b.id), cmp.Compare(a.depth, b.depth), cmp.Compare(a.pack, b.pack))
}

// moved returns the number that a chunk's first row has, now that new rows are among the
// others, by the one that it had.
func (c *rows) moved(number int32) int32 {
	shifts := c.buckets[number>>placeBits].shifts
	n, _ := slices.BinarySearch(shifts, int(number&(1<<placeBits-1))+1)
	return number + int32(n)
}

// baseOf returns the base of a delta that is settled.
func (c *rows) baseOf(r *row) Key {
	if r.base < 0 {
		return c.strange[-1-r.base]
	}
	return c.row(r.base).id
}

// row returns the row with the number.
func (c *rows) row(number int32) *row {
	return &c.buckets[number>>placeBits].rows[number&(1<<placeBits-1)]
}

// run returns the copies of a delta's base, none if the catalog does not know it.
func (c *rows) run(r *row) []row {
	if r.base < 0 {
		return nil
	}
	return c.from(r.base)
}

// from returns the copies of the chunk whose first copy has the number.
func (c *rows) from(number int32) []row {
	return runOf(c.buckets[number>>placeBits].rows[number&(1<<placeBits-1):])
}

// runOf returns the rows at the front that are of one chunk.
func runOf(rows []row) []row {
	j := 1
	for j < len(rows) && rows[j].id == rows[0].id {
		j++
	}
	return rows[:j]
}

// all yields the rows, with their numbers.
func (c *rows) all() iter.Seq2[int32, *row] {
	return func(yield func(int32, *row) bool) {
		for i := range c.buckets {
			rows := c.buckets[i].rows
			for j := range rows {
				if !yield(int32(i<<placeBits|j), &rows[j]) {
					return
				}
			}
		}
	}
}

// clear takes flags from all rows.
func (c *rows) clear(flags uint8) {
	for i := range c.buckets {
		rows := c.buckets[i].rows
		for j := range rows {
			rows[j].flags &^= flags
		}
	}
}

// eachRun calls fn for the copies of each chunk.
func (c *rows) eachRun(fn func(run []row)) {
	for i := range c.buckets {
		for rows := c.buckets[i].rows; len(rows) > 0; {
			run := runOf(rows)
			fn(run)
			rows = rows[len(run):]
		}
	}
}

// find returns the copies of a chunk, those of less depth first.
func (c *rows) find(id Key) []row {
	if number := c.numberOf(id); number >= 0 {
		return c.from(number)
	}
	return nil
}

// numberOf returns the number of a chunk's first row, or -1. Names are evenly spread, so
// the place is nearly known beforehand: it is enclosed by steps that double, and then
// halved.
func (c *rows) numberOf(id Key) int32 {
	bucket := bucketOf(id)
	rows := c.buckets[bucket].rows
	less := func(i int) bool { return compareKeys(rows[i].id, id) < 0 }
	n := len(rows)
	lo, hi := 0, n // rows before lo are less, those from hi on are not
	if n > 0 {
		at := int(uint64(id[0]<<bucketBits) * uint64(n) >> 32)
		if less(at) {
			for step := 16; ; step *= 2 {
				lo = at + 1
				if at += step; at >= n {
					break
				}
				if !less(at) {
					hi = at
					break
				}
			}
		} else {
			for step := 16; ; step *= 2 {
				hi = at
				if at -= step; at < 0 {
					break
				}
				if less(at) {
					lo = at + 1
					break
				}
			}
		}
	}
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); less(mid) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == n || rows[lo].id != id {
		return -1
	}
	return int32(bucket<<placeBits | lo)
}
