package catalog

import (
	"cmp"
	"maps"
	"slices"
)

// Copy is a chunk that is to be copied out of a pack.
type Copy struct {
	ID     Key
	Pack   int   // number of the pack to copy it from
	Stored int64 // bytes of its box there
	Depth  uint8 // of the copy that is to be copied
	Delta  bool
	Base   Key // if it is a delta
	// Recode: it is not to be copied as it is, but encoded anew, as a delta against Base
	// or whole, because nothing else needs its present base.
	Recode bool
}

// Plan collects what must be copied so that chunks get locations that count. Every
// base goes before what needs it.
type Plan struct {
	c      *Catalog
	Copies []Copy
	depth  map[Key]int // of what will be copied
	failed map[Key]bool
}

// NewPlan returns an empty plan.
func (c *Catalog) NewPlan() *Plan {
	return &Plan{c: c, depth: make(map[Key]int), failed: make(map[Key]bool)}
}

// Bytes returns how much will be copied.
func (p *Plan) Bytes() (n int64) {
	for i := range p.Copies {
		n += p.Copies[i].Stored
	}
	return n
}

// Place plans a location for a chunk, and for its bases, unless it has one or the plan
// does. It reports whether there will be one. The encoding is taken from the pack that is
// to go, if there is one that holds it.
func (p *Plan) Place(id Key) bool { return p.place(id, anyDepth, -1) }

// place copies from pack number from if it can, then from a pack to be swept, and then
// from any. To take the encoding from the pack that goes matters: another collector that
// has seen that pack knows what bases its copies need.
func (p *Plan) place(id Key, below, from int) bool {
	if p.c.placed(id, below) {
		return true
	}
	if d, planned := p.depth[id]; planned && d < below {
		return true
	}
	if p.failed[id] {
		return false
	}
	run := p.c.find(id)
	// A delta that stays has a location that counts as soon as its base has one.
	for i := range run {
		r := &run[i]
		if r.flags&(isDelta|recode) == isDelta && int(r.depth) < below && p.c.good(r) && p.c.usable(&p.c.Packs[r.pack]) &&
			p.placeBase(r) {
			return true
		}
	}
	for _, rank := range []int{2, 1, 0} {
		for i := range run {
			if r := &run[i]; p.rank(r, from) == rank && int(r.depth) < below && p.c.good(r) && p.copy(r) {
				return true
			}
		}
	}
	if below == anyDepth {
		p.failed[id] = true
	}
	return false
}

// placeBase plans a location for the base of a delta.
func (p *Plan) placeBase(r *row) bool {
	return p.c.placedRun(p.c.run(r), int(r.depth)) || p.place(p.c.baseOf(r), int(r.depth), -1)
}

func (p *Plan) rank(r *row, from int) int {
	switch {
	case int(r.pack) == from:
		return 2
	case p.c.Packs[r.pack].Sweep:
		return 1
	}
	return 0
}

// copy plans to copy a chunk from one place, and before it its base.
func (p *Plan) copy(r *row) bool {
	id := r.id
	add := Copy{ID: id, Pack: int(r.pack), Stored: int64(r.stored), Depth: r.depth}
	if r.flags&isDelta != 0 {
		add.Base, add.Delta = p.c.baseOf(r), true
	}
	if r.flags&recode != 0 {
		add.Recode = true
		add.Base, add.Delta = p.c.rootedBase(r)
	}
	if add.Delta && !p.place(add.Base, int(r.depth), -1) {
		return false
	}
	if d, planned := p.depth[id]; planned && d <= int(r.depth) {
		return true // on the way to the base
	}
	p.Copies = append(p.Copies, add)
	p.depth[id] = int(r.depth) // encoded anew it lies no deeper
	return true
}

// rootedBase returns the next chunk along a chain of bases that a manifest roots.
func (c *Catalog) rootedBase(r *row) (Key, bool) {
	for r.flags&isDelta != 0 {
		run := c.run(r)
		if len(run) == 0 || run[0].depth >= r.depth {
			break
		}
		if run[0].flags&rooted != 0 {
			return run[0].id, true
		}
		r = &run[0]
	}
	return Key{}, false
}

// DepthOf returns the least depth at which a chunk has a location that counts, or will
// have one by the plan.
func (p *Plan) DepthOf(id Key) int {
	least := anyDepth
	if d, planned := p.depth[id]; planned {
		least = d
	}
	run := p.c.find(id)
	for i := range run {
		if p.c.counts(&run[i]) {
			least = min(least, int(run[i].depth))
		}
	}
	return least
}

// PlaceSwept plans a location for every live chunk of the packs to be swept.
func (p *Plan) PlaceSwept() {
	for _, r := range p.c.all() {
		if p.c.Packs[r.pack].Sweep && r.flags&live != 0 {
			p.place(r.id, anyDepth, int(r.pack))
		}
	}
}

// PlaceRooted plans a location for every rooted chunk, and for the bases of what lies in
// packs that count, which have none. Call it after the chunks whose order matters.
func (p *Plan) PlaceRooted() {
	c := p.c
	c.eachRun(func(run []row) {
		if run[0].flags&rooted != 0 && !c.placedRun(run, anyDepth) {
			p.Place(run[0].id)
		}
	})
	for _, r := range c.all() {
		if r.flags&isDelta != 0 && r.flags&(rooted|needed) != 0 && c.usable(&c.Packs[r.pack]) && c.good(r) {
			p.placeBase(r)
		}
	}
}

// weigh works out how much of each pack that is not condemned is of use, after Decide:
// what is rooted, or a base of it that is worth its place. Of a chunk with several
// copies one is of use, in the pack that is of most use anyway.
func (c *Catalog) weigh(keep map[Key]bool, none bool) {
	c.chooseRecode(keep, none)
	for i := range c.Packs {
		c.Packs[i].Used = 0
	}
	eligible := func(r *row) bool { return c.good(r) && !c.Packs[r.pack].Condemned }
	useful := func(run []row) bool { return run[0].flags&(rooted|needed) != 0 && !c.spared(run) }
	// First what has no choice, so that what has one can follow.
	for _, choice := range []bool{false, true} {
		c.eachRun(func(run []row) {
			if !useful(run) {
				return
			}
			n, best := 0, -1
			for i := range run {
				if !eligible(&run[i]) {
					continue
				}
				n++
				if best < 0 || c.use(&run[i]) > c.use(&run[best]) {
					best = i
				}
			}
			if n > 0 && (n > 1) == choice {
				c.Packs[run[best].pack].Used += int64(run[best].stored)
			}
		})
	}
}

func (c *Catalog) use(r *row) float64 {
	p := &c.Packs[r.pack]
	return float64(p.Used) / float64(max(p.Stored, 1))
}

// spared reports whether the chunk's place is not needed if all that is to be encoded
// anew is.
func (c *Catalog) spared(run []row) bool {
	return run[0].flags&recode != 0 || run[0].flags&(rooted|held) == held
}

// chooseRecode finds rooted deltas whose bases nothing roots, and which it pays to encode
// anew so that the bases can go. It uses the flag held of chunks that nothing roots to say
// that their dependents all will be; Decide restores it. keep are chunks that are to stay
// as they are.
func (c *Catalog) chooseRecode(keep map[Key]bool, none bool) {
	// How many rooted chunks need each base that is not rooted, up to the next rooted one.
	dependents := make(map[Key]int32)
	chain := func(r *row, fn func(run []row) bool) (whole bool) {
		for r.flags&isDelta != 0 {
			run := c.run(r)
			if len(run) == 0 || run[0].depth >= r.depth || run[0].flags&rooted != 0 || !fn(run) {
				return false
			}
			r = &run[0]
		}
		return true
	}
	deltas := func(fn func(run []row)) {
		c.eachRun(func(run []row) {
			if run[0].flags&(rooted|isDelta) == rooted|isDelta {
				fn(run)
			}
		})
	}
	c.clear(recode | held)
	if none {
		return
	}
	deltas(func(run []row) {
		chain(&run[0], func(base []row) bool { dependents[base[0].id]++; return true })
	})
	if len(dependents) == 0 {
		return
	}
	freed := func(base []row) bool { return !keep[base[0].id] } // at first, that it may be
	choose := func() (n int) {
		deltas(func(run []row) {
			if keep[run[0].id] {
				return
			}
			frees, largest, last := float64(run[0].stored), run[0].stored, &run[0]
			whole := chain(&run[0], func(base []row) bool {
				last = &base[0]
				largest = max(largest, last.stored)
				if freed(base) {
					frees += float64(last.stored) / float64(dependents[last.id])
				}
				return true
			})
			// It compresses like the chunk at the end of the chain, which is whole. A delta
			// against a chunk further along is at least as long as the longest on the way.
			costs := float64(last.stored) * float64(run[0].raw.bytes()) / float64(max(last.raw.bytes(), 1))
			if !whole {
				costs = 1.5 * float64(largest)
			}
			chosen := uint8(0)
			if last != &run[0] && frees > 1.02*costs {
				chosen = recode
			}
			if run[0].flags&recode != chosen {
				n++
			}
			for i := range run {
				run[i].flags = run[i].flags&^recode | chosen
			}
		})
		return n
	}
	mark := func() {
		remaining := maps.Clone(dependents)
		c.clear(held)
		deltas(func(run []row) {
			if run[0].flags&recode == 0 {
				return
			}
			chain(&run[0], func(base []row) bool {
				if remaining[base[0].id]--; remaining[base[0].id] == 0 && !keep[base[0].id] {
					for i := range base {
						base[i].flags |= held
					}
				}
				return true
			})
		})
	}
	// Every round can only withdraw: what a base frees is less once it is known that it
	// stays for somebody else.
	choose()
	mark()
	freed = func(base []row) bool { return base[0].flags&held != 0 }
	for choose() > 0 {
		mark()
	}
}

// Choice says which packs are to be condemned.
type Choice struct {
	// Eligible says which packs may be: it is asked about those only that are there and
	// not condemned.
	Eligible func(*Pack) bool
	// MaxUnused is how much of what stays may be of no use, as a fraction of it.
	MaxUnused float64
	// Small, if not nil, says which packs are to be merged with others because they are
	// small; it is done if there are at least two.
	Small func(*Pack) bool
}

// rounds bounds how often a choice is revised.
const rounds = 6

// Choose returns the numbers of the packs to condemn, after Decide, and marks them: those of
// no use, then those of least use until what stays is dense enough, then the small ones.
// Used says from then on of what use each pack is.
//
// To encode a chunk anew frees its base only if every copy of it goes. If one would be in
// a pack that stays, it is not encoded anew, its base is of use after all, and the choice
// is made again.
func (c *Catalog) Choose(o Choice) []int {
	// Of chunks that might be encoded anew, and of bases that might then go, those that
	// stay as they are for what is in packs that stay.
	keep := make(map[Key]bool)
	for round := 0; ; round++ {
		c.weigh(keep, round == rounds)
		packs := c.choose(o)
		for _, n := range packs {
			c.Packs[n].Condemned = true
		}
		before := len(keep)
		for _, r := range c.all() {
			if p := &c.Packs[r.pack]; !p.there() || p.Condemned {
				continue
			}
			if r.flags&recode != 0 {
				keep[r.id] = true
			}
			if r.flags&isDelta != 0 {
				if base := c.run(r); len(base) > 0 && base[0].flags&(rooted|held) == held {
					keep[base[0].id] = true
				}
			}
		}
		if len(keep) == before {
			c.clear(answered | counts)
			return packs
		}
		for _, n := range packs {
			c.Packs[n].Condemned = false
		}
	}
}

func (c *Catalog) choose(o Choice) []int {
	var out, partly, small []int
	var kept, unused int64
	for n := range c.Packs {
		p := &c.Packs[n]
		if !p.there() || p.Condemned {
			continue
		}
		eligible := o.Eligible(p)
		switch {
		case eligible && p.Used == 0:
			out = append(out, n)
			continue
		case eligible && p.Used < p.Stored:
			partly = append(partly, n)
		case eligible && o.Small != nil && o.Small(p):
			small = append(small, n)
		}
		kept += p.Stored
		unused += p.Stored - p.Used
	}
	share := func(n int) float64 { return float64(c.Packs[n].Used) / float64(c.Packs[n].Stored) }
	slices.SortFunc(partly, func(a, b int) int { return cmp.Or(cmp.Compare(share(a), share(b)), cmp.Compare(a, b)) })
	for i, n := range partly {
		p := &c.Packs[n]
		if float64(unused) <= o.MaxUnused*float64(kept) {
			for _, n := range partly[i:] {
				if o.Small != nil && o.Small(&c.Packs[n]) {
					small = append(small, n)
				}
			}
			break
		}
		out = append(out, n)
		unused -= p.Stored - p.Used
		kept -= p.Stored - p.Used
	}
	if len(small) > 1 {
		out = append(out, small...)
	}
	slices.Sort(out)
	return out
}
