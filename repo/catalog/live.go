package catalog

// Root says that a manifest roots a chunk. It reports whether the catalog has a copy
// of it at all, listed or not.
func (c *Catalog) Root(id Key) bool {
	run := c.find(id)
	for i := range run {
		run[i].flags |= rooted
	}
	return len(run) > 0
}

// mark marks the bases of copies, theirs, and so on. visit is given each copy of a
// chunk that is marked, and says whether its base is to be marked too.
func (c *Catalog) mark(flag uint8, start func(run []row) bool, follow func(run []row, i int) bool) {
	var work []int32
	visit := func(run []row) {
		for i := range run {
			if run[i].flags&isDelta == 0 || c.Broken.IgnoreBases || !follow(run, i) {
				continue
			}
			base := c.run(&run[i])
			if len(base) > 0 && base[0].flags&flag == 0 {
				for j := range base {
					base[j].flags |= flag
				}
				work = append(work, run[i].base)
			}
		}
	}
	c.eachRun(func(run []row) {
		if !start(run) {
			return
		}
		visit(run)
		for len(work) > 0 { // at once, so that there is never much of it
			base := c.from(work[len(work)-1])
			work = work[:len(work)-1]
			visit(base)
		}
	})
}

// Decide works out which chunks are live, after everything was rooted, and when it is
// known which packs are condemned and which of them are to be swept: rule 6. It forgets
// what it said before.
func (c *Catalog) Decide() {
	c.clear(needed | held | firm | answered | counts | recode)
	always := func(run []row, i int) bool { return c.heardOf(&run[i]) }
	isRooted := func(run []row) bool { return run[0].flags&rooted != 0 }
	// Of every copy, in packs that are not listed too: somebody may just have copied
	// one that we do not know from one that we do.
	c.mark(needed, isRooted, always)
	// Needed or not: somebody may have come to refer to what stays.
	c.markBases(held, func(p *Pack) bool { return p.First && p.Last && !p.Sweep })
	// What would still be live if nothing condemned were there any more.
	stays := func(run []row, i int) bool { return c.counts(&run[i]) || !c.placedRun(run, anyDepth) }
	c.mark(firm, isRooted, stays)
	c.mark(firm, c.anyIn(c.usable), stays)
}

// markBases marks the bases of all chunks in some packs.
func (c *Catalog) markBases(flag uint8, in func(*Pack) bool) {
	c.mark(flag, c.anyIn(in), func(run []row, i int) bool {
		return run[0].flags&flag != 0 && c.heardOf(&run[i]) || in(&c.Packs[run[i].pack])
	})
}

// heardOf reports whether a listing or a fragment names the pack of a copy. What neither
// does any more was there once, in this run.
func (c *Catalog) heardOf(r *row) bool {
	p := &c.Packs[r.pack]
	return p.First || p.Last || p.Named > 0
}

// anyIn reports whether a chunk has a copy in one of some packs.
func (c *Catalog) anyIn(in func(*Pack) bool) func(run []row) bool {
	return func(run []row) bool {
		for i := range run {
			if in(&c.Packs[run[i].pack]) {
				return true
			}
		}
		return false
	}
}

const live = rooted | needed | held

// Postpone takes packs out of the sweep that hold something which only copies in other
// condemned packs need: when those are gone, nothing need be copied for it. Then what is
// live is worked out anew. It returns how many there were.
func (c *Catalog) Postpone() int {
	n := 0
	for again := true; again; {
		again = false
		c.Decide()
		for _, r := range c.all() {
			if p := &c.Packs[r.pack]; p.Sweep && r.flags&live != 0 && r.flags&(rooted|firm) == 0 {
				p.Sweep, again = false, true
				n++
			}
		}
	}
	return n
}

// counts reports whether a copy is a location that counts: rule 5. Depth falls along
// a chain, so two deltas never vouch for each other, and this ends.
func (c *Catalog) counts(r *row) bool {
	if r.flags&answered == 0 {
		r.flags |= answered
		if c.good(r) && c.usable(&c.Packs[r.pack]) && (r.flags&isDelta == 0 || c.Broken.CountBaseless || c.placedRun(c.run(r), int(r.depth))) {
			r.flags |= counts
		}
	}
	return r.flags&counts != 0
}

// placed reports whether a chunk has a location that counts at a depth below the
// given one.
func (c *Catalog) placed(id Key, below int) bool { return c.placedRun(c.find(id), below) }

func (c *Catalog) placedRun(run []row, below int) bool {
	for i := range run {
		if int(run[i].depth) >= below {
			return false // they are sorted by depth
		}
		if c.counts(&run[i]) {
			return true
		}
	}
	return false
}

// anyDepth is above the depth of every copy.
const anyDepth = 256

// Unresolved returns the live chunks among those given, or that they need, of which no
// copy can be read for all that is known, in packs that are condemned neither: rule 8.
func (c *Catalog) Unresolved() []Key {
	var out []Key
	known := make(map[Key]int) // least depth at which it can be read; anyDepth: not at all
	var depth func(run []row) int
	depth = func(run []row) int {
		if len(run) == 0 {
			return anyDepth
		}
		id := run[0].id
		if d, ok := known[id]; ok {
			return d
		}
		known[id] = anyDepth
		for i := range run {
			r := &run[i]
			if c.good(r) && (r.flags&isDelta == 0 || depth(c.run(r)) < int(r.depth)) {
				known[id] = int(r.depth)
				break
			}
		}
		return known[id]
	}
	c.eachRun(func(run []row) {
		if run[0].flags&rooted == 0 || c.placedRun(run, anyDepth) {
			return
		}
		if depth(run) == anyDepth {
			out = append(out, run[0].id)
		}
	})
	return out
}

// Sweepable reports whether every live chunk of the packs to be swept has another
// location, for each pack: rule 7.
func (c *Catalog) Sweepable() map[int]bool {
	ok := make(map[int]bool)
	for n := range c.Packs {
		if c.Packs[n].Sweep {
			ok[n] = c.Packs[n].Known
		}
	}
	for _, r := range c.all() {
		if c.Packs[r.pack].Sweep && r.flags&live != 0 && !c.placed(r.id, anyDepth) { // few
			ok[int(r.pack)] = false
		}
	}
	return ok
}
