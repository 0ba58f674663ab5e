package catalog

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
