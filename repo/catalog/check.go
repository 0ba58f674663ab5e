package catalog

import (
	"cmp"
	"slices"

	"github.com/gpdedup/gpdedup/index"
)

// copyKey names one copy of a chunk.
type copyKey struct {
	pack int32
	id   Key
}

// MarkBad says that a copy was read and is damaged. It takes effect on Placed, Chain and
// Resolve after Sort or Ask.
func (c *Catalog) MarkBad(pack int, id Key) {
	if c.bad == nil {
		c.bad = make(map[copyKey]bool)
	}
	c.bad[copyKey{int32(pack), id}] = true
}

// Bad reports whether MarkBad was called for a copy.
func (c *Catalog) Bad(pack int, id Key) bool { return c.bad[copyKey{int32(pack), id}] }

// Ask forgets which locations were found to count, so that what was said since is heard,
// and any Tree.
func (c *Catalog) Ask() {
	c.clear(answered | counts | inTree)
}

// Same reports whether the catalog has a copy in the pack that is as the location says,
// but for its place there. Call it after Sort.
func (c *Catalog) Same(pack int, id Key, loc *index.Location) bool {
	run := c.find(id)
	for i := range run {
		r := &run[i]
		delta := loc.Encoding == index.Delta
		if int(r.pack) == pack && r.stored == loc.Stored && r.depth == loc.Depth && r.raw == lengthOf(loc.Raw) &&
			(r.flags&isDelta != 0) == delta && (!delta || c.baseOf(r) == KeyOf(loc.Base)) {
			return true
		}
	}
	return false
}

// Length reports whether the chunk may be so long; it knows lengths to 11 bits.
func (c *Catalog) Length(id Key, raw uint32) bool {
	run := c.find(id)
	return len(run) == 0 || run[0].raw == lengthOf(raw)
}

// inTree marks the deltas of a Tree. A catalog that is checked is not repacked, so the
// flag is free.
const inTree = recode

// Tree is a set of deltas, arranged by what they need: whoever has the content of a chunk
// finds in it what can be decoded with that.
type Tree struct {
	c      *Catalog
	deltas []int32 // numbers of rows, sorted by base
}

// Node is a copy of a chunk in a Tree.
type Node struct {
	ID     Key
	Pack   int
	Depth  uint8
	Stored uint32
	// Inner: others need the content, and take it from this copy.
	Inner bool
}

// Tree returns the deltas in the packs that want accepts, and all that is needed to decode
// them. Deltas whose base has no copy that can be read are given to lost instead. Call it
// after Sort.
func (c *Catalog) Tree(want func(pack int) bool, lost func(Node)) *Tree {
	t := &Tree{c: c}
	c.clear(inTree)
	var work []int32
	add := func(i int32) {
		if r := c.row(i); r.flags&inTree == 0 {
			r.flags |= inTree
			work = append(work, i)
		}
	}
	for i, r := range c.all() {
		if r.flags&isDelta != 0 && c.good(r) && want(int(r.pack)) {
			add(i)
		}
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		r := c.row(i)
		base := c.source(r.base)
		if base < 0 || c.row(base).depth >= r.depth {
			r.flags &^= inTree
			lost(c.node(r, false))
			continue
		}
		t.deltas = append(t.deltas, i)
		if c.row(base).flags&isDelta != 0 {
			add(base)
		}
	}
	for _, r := range c.all() {
		c.counts(r) // so that questions change nothing, and may be asked side by side
	}
	slices.SortFunc(t.deltas, func(a, b int32) int {
		return cmp.Or(cmp.Compare(c.row(a).base, c.row(b).base), cmp.Compare(a, b))
	})
	return t
}

// source returns the number of the copy that a chunk's content is taken from: the least deep
// that can be read; -1 if there is none. first is the number of the chunk's first row, or
// negative.
func (c *Catalog) source(first int32) int32 {
	if first < 0 {
		return -1
	}
	run := c.from(first)
	for i := range run {
		if c.counts(&run[i]) {
			return first + int32(i)
		}
	}
	return -1
}

func (c *Catalog) node(r *row, inner bool) Node {
	return Node{ID: r.id, Pack: int(r.pack), Depth: r.depth, Stored: r.stored, Inner: inner}
}

// Bytes returns how long the boxes of the deltas are in all.
func (t *Tree) Bytes() (n int64) {
	for _, i := range t.deltas {
		n += int64(t.c.row(i).stored)
	}
	return n
}

// Roots returns the whole chunks that deltas of the tree need, by pack.
func (t *Tree) Roots() map[int][]Node {
	roots := make(map[int][]Node)
	for k, i := range t.deltas {
		base := t.c.row(i).base
		if k > 0 && t.c.row(t.deltas[k-1]).base == base {
			continue
		}
		if at := t.c.source(base); at >= 0 && t.c.row(at).flags&isDelta == 0 {
			r := t.c.row(at)
			roots[int(r.pack)] = append(roots[int(r.pack)], t.c.node(r, true))
		}
	}
	return roots
}

// Children returns the deltas whose base is the chunk.
func (t *Tree) Children(id Key) []Node {
	first := t.c.numberOf(id)
	if first < 0 {
		return nil
	}
	at, _ := t.deltasOf(first)
	var out []Node
	for ; at < len(t.deltas) && t.c.row(t.deltas[at]).base == first; at++ {
		i := t.deltas[at]
		r := t.c.row(i)
		own := t.c.numberOf(r.id)
		_, needed := t.deltasOf(own)
		out = append(out, t.c.node(r, needed && t.c.source(own) == i))
	}
	return out
}

// deltasOf returns where the deltas begin whose base has the given first row, and whether
// there are any.
func (t *Tree) deltasOf(first int32) (at int, found bool) {
	return slices.BinarySearchFunc(t.deltas, first, func(i, first int32) int { return cmp.Compare(t.c.row(i).base, first) })
}

// Unplaced returns the chunks of which no copy is a location that counts, by a pack that
// is there and holds one.
func (c *Catalog) Unplaced() map[int][]Key {
	out := make(map[int][]Key)
	c.eachRun(func(run []row) {
		if c.placed(run[0].id, anyDepth) {
			return
		}
		for i := range run {
			if n := int(run[i].pack); c.Packs[n].First {
				out[n] = append(out[n], run[i].id)
				return
			}
		}
	})
	return out
}
