// Package catalog is a collector's picture of a repository: which packs there are,
// which chunks each of them holds, and which of these are needed.
//
// What flows in: packs from listings, their directories from fragments and footers,
// and the chunks that manifests root. What flows out: which chunks are live, whether
// a chunk has another location, what each pack is worth keeping for, and in which
// order chunks have to be copied so that a delta's base always goes first.
//
// The package reads and writes nothing, and decides nothing about time. The rules
// that it computes are those of docs/format.md, "What a collector owes"; comments
// name them by their number there.
//
// It is made for tens of millions of chunks: a copy of a chunk takes 28 bytes, and
// chunks are told apart by the first 12 bytes of their names, which are keyed hashes:
// among ten million, two of them agree with a probability below 10⁻¹⁴.
package catalog

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
)

// Key is the beginning of a chunk's name.
type Key [3]uint32

// KeySize is the length of a Key in bytes.
const KeySize = 12

// KeyOf returns the key of a chunk.
func KeyOf(id digest.ID) Key { return KeyFrom(id[:]) }

// KeyFrom reads a key from the front of b, which has at least KeySize bytes.
func KeyFrom(b []byte) Key {
	return Key{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])}
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2]))
}

// Pack is what is known about one pack. Number it by its place in Catalog.Packs.
type Pack struct {
	ID      digest.ID
	Size    int64     // bytes of the object
	ModTime time.Time // by the storage's clock
	// First and Last say in which of a run's two listings of packs it was.
	First, Last bool
	// Condemned: a condemned list of either look names it.
	Condemned bool
	// Known: the directory is in the catalog.
	Known bool
	// Named counts the listed fragments that name it.
	Named int
	// Sweep: it is to be removed by this run.
	Sweep bool
	// Stored is the sum of its chunks' boxes in bytes, Used of those in it that
	// something needs and that no other pack should keep instead; see Choose.
	Stored, Used int64
	// Chunks is how many copies it holds.
	Chunks int
}

// there reports whether a copy in the pack can be read for all that is known.
func (p *Pack) there() bool { return p.First && p.Last && p.Known }

// row is one copy of a chunk.
type row struct {
	id     Key
	base   int32 // if it is a delta: see Catalog.bases
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

// Catalog is the picture. The zero value is empty. It is not safe for concurrent use.
type Catalog struct {
	Packs  []Pack
	Broken Broken

	// bases are those of the rows that are new since Sort, by the numbers that the rows
	// have for them. Of all other rows base is the number of the base's first row, or, if
	// there is none, -1 - a number in strange.
	bases   []Key
	strange []Key
	settled int // rows that are not new
	number  map[digest.ID]int32
	rows    []row // sorted by id after Sort
	lost    map[Key]time.Time
	sorted  bool
}

// Broken removes rules, for the tests that show that each is needed. The zero value,
// which is all that anything else ever has, is correct.
type Broken struct {
	CountCondemned bool // a copy in a condemned pack is another location
	CountUnnamed   bool // so is one in a pack that no fragment names
	CountBaseless  bool // so is a delta whose base has none
	IgnoreBases    bool // bases of live chunks are not live
}

// usable reports whether a pack can be another location of its chunks: rule 5, but for
// the chunks' bases.
func (c *Catalog) usable(p *Pack) bool {
	return p.there() && (!p.Condemned || c.Broken.CountCondemned) && (p.Named > 0 || c.Broken.CountUnnamed)
}

// Reserve makes room for n copies, of which some are deltas, so that growing does not take
// twice the memory.
func (c *Catalog) Reserve(n, deltas int) {
	if n > cap(c.rows) {
		c.rows = append(make([]row, 0, n), c.rows...)
	}
	if deltas > cap(c.bases) {
		c.bases = append(make([]Key, 0, deltas), c.bases...)
	}
}

// Pack returns the number of a pack, which is added if it is new.
func (c *Catalog) Pack(id digest.ID) int {
	if n, ok := c.number[id]; ok {
		return int(n)
	}
	if c.number == nil {
		c.number = make(map[digest.ID]int32)
	}
	n := int32(len(c.Packs))
	c.number[id] = n
	c.Packs = append(c.Packs, Pack{ID: id})
	return int(n)
}

// Lookup returns the number of a pack, if it is in the catalog.
func (c *Catalog) Lookup(id digest.ID) (int, bool) {
	n, ok := c.number[id]
	return int(n), ok
}

// AddDirectory adds the chunks of a pack, unless it has them already: what a pack
// holds never changes. It returns the pack's number.
func (c *Catalog) AddDirectory(dir *index.Pack) int {
	n := c.Pack(dir.ID)
	p := &c.Packs[n]
	if p.Known {
		return n
	}
	p.Known, p.Chunks = true, len(dir.Entries)
	if p.Size == 0 {
		p.Size = int64(dir.Size)
	}
	for i := range dir.Entries {
		e := &dir.Entries[i]
		r := row{id: KeyOf(e.ID), pack: int32(n), stored: e.Stored, raw: lengthOf(e.Raw), depth: e.Depth}
		if e.Encoding == index.Delta {
			r.base, r.flags = int32(len(c.bases)), isDelta
			c.bases = append(c.bases, KeyOf(e.Base))
		}
		p.Stored += int64(e.Stored)
		c.rows = append(c.rows, r)
	}
	c.sorted = false
	return n
}

// Chunks returns the number of copies.
func (c *Catalog) Chunks() int { return len(c.rows) }

// Sort makes the catalog ready for questions after directories were added. What was
// said about a chunk before holds for the copies that are new.
func (c *Catalog) Sort() {
	if c.sorted {
		return
	}
	c.sorted = true
	c.unsettle()
	slices.SortFunc(c.rows, func(a, b row) int {
		return cmp.Or(compareKeys(a.id, b.id), cmp.Compare(a.depth, b.depth), cmp.Compare(a.pack, b.pack))
	})
	c.eachRun(func(run []row) {
		var live uint8
		for i := range run {
			live |= run[i].flags & (rooted | needed | held)
		}
		for i := range run {
			run[i].flags |= live
		}
	})
	c.settle()
}

// unsettle writes down the bases of all rows by name, before they change places.
func (c *Catalog) unsettle() {
	for i := range c.settled {
		r := &c.rows[i]
		if r.flags&isDelta == 0 {
			continue
		}
		id := c.baseOf(r)
		r.base = int32(len(c.bases))
		c.bases = append(c.bases, id)
	}
	c.strange = nil
}

// settle finds the bases of all rows.
func (c *Catalog) settle() {
	for i := range c.rows {
		r := &c.rows[i]
		if r.flags&isDelta == 0 {
			continue
		}
		id := c.bases[r.base]
		if at := c.search(id); at < len(c.rows) && c.rows[at].id == id {
			r.base = int32(at)
		} else {
			c.strange = append(c.strange, id)
			r.base = -int32(len(c.strange))
		}
	}
	c.bases, c.settled = nil, len(c.rows)
}

// baseOf returns the base of a delta that is settled.
func (c *Catalog) baseOf(r *row) Key {
	if r.base < 0 {
		return c.strange[-1-r.base]
	}
	return c.rows[r.base].id
}

// run returns the copies of a delta's base, none if the catalog does not know it.
func (c *Catalog) run(r *row) []row {
	if r.base < 0 {
		return nil
	}
	return c.from(int(r.base))
}

// from returns the copies of the chunk whose first copy is row number i.
func (c *Catalog) from(i int) []row {
	j := i + 1
	for j < len(c.rows) && c.rows[j].id == c.rows[i].id {
		j++
	}
	return c.rows[i:j]
}

// eachRun calls fn for the copies of each chunk.
func (c *Catalog) eachRun(fn func(run []row)) {
	for i := 0; i < len(c.rows); {
		run := c.from(i)
		fn(run)
		i += len(run)
	}
}

// find returns the copies of a chunk, those of less depth first.
func (c *Catalog) find(id Key) []row {
	if at := c.search(id); at < len(c.rows) && c.rows[at].id == id {
		return c.from(at)
	}
	return nil
}

// search returns where the first copy of a chunk is, or would be. Names are evenly
// spread, so the place is nearly known beforehand: it is enclosed by steps that double,
// and then halved.
func (c *Catalog) search(id Key) int {
	less := func(i int) bool { return compareKeys(c.rows[i].id, id) < 0 }
	n := len(c.rows)
	lo, hi := 0, n // rows before lo are less, those from hi on are not
	if n > 0 {
		at := int(uint64(id[0]) * uint64(n) >> 32)
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
	return lo
}

// Lost says that chunks were marked lost at the given time, by the storage's clock:
// copies in packs that are not newer are no good.
func (c *Catalog) Lost(id digest.ID, at time.Time) {
	if c.lost == nil {
		c.lost = make(map[Key]time.Time)
	}
	if key := KeyOf(id); at.After(c.lost[key]) {
		c.lost[key] = at
	}
}

// good reports whether a copy can be read for all that is known.
func (c *Catalog) good(r *row) bool {
	p := &c.Packs[r.pack]
	if !p.there() {
		return false
	}
	if len(c.lost) > 0 {
		if at, lost := c.lost[r.id]; lost && !p.ModTime.After(at) {
			return false
		}
	}
	return true
}

// Healed reports whether a mark of a lost chunk has done its work: copies made since
// are all that there is, or nothing needs the chunk.
func (c *Catalog) Healed(id digest.ID) bool {
	run := c.find(KeyOf(id))
	if len(run) == 0 {
		return false // whoever roots it would not find it
	}
	for i := range run {
		if p := &c.Packs[run[i].pack]; p.First && !c.good(&run[i]) {
			return false
		}
	}
	return true
}
