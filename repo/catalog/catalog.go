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

// Catalog is the picture. The zero value is empty. It is not safe for concurrent use.
type Catalog struct {
	Packs  []Pack
	Broken Broken

	number map[digest.ID]int32
	rows
	lost map[Key]time.Time
	bad  map[copyKey]bool
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
			r.flags = isDelta
		}
		p.Stored += int64(e.Stored)
		c.add(r, KeyOf(e.Base))
	}
	return n
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
	if len(c.bad) > 0 && c.bad[copyKey{r.pack, r.id}] {
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
// are all that there is, or nothing needs the chunk. A delta that was lost because its base
// was, is good again when that is; one that is damaged itself lies in a condemned pack.
func (c *Catalog) Healed(id digest.ID) bool {
	run := c.find(KeyOf(id))
	if len(run) == 0 {
		return false // whoever roots it would not find it
	}
	for i := range run {
		r := &run[i]
		p := &c.Packs[r.pack]
		if !p.First || c.good(r) {
			continue
		}
		if r.flags&isDelta == 0 || p.Condemned || !c.placedRun(c.run(r), int(r.depth)) {
			return false
		}
	}
	return true
}
