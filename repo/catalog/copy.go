package catalog

// Source is where a copy of a chunk can be read.
type Source struct {
	ID    Key
	Pack  int
	Depth uint8
	Delta bool
}

// Chain returns where a chunk can be read, its base, and so on to the whole chunk at the
// end, condemned packs included; nil if the chain does not end.
func (c *Catalog) Chain(id Key) []Source { return c.chain(c.find(id), anyDepth) }

func (c *Catalog) chain(run []row, below int) []Source {
	for i := range run {
		r := &run[i]
		if int(r.depth) >= below {
			break
		}
		if !c.good(r) {
			continue
		}
		s := Source{ID: r.id, Pack: int(r.pack), Depth: r.depth}
		if r.flags&isDelta == 0 {
			return []Source{s}
		}
		if rest := c.chain(c.run(r), int(r.depth)); rest != nil {
			s.Delta = true
			return append([]Source{s}, rest...)
		}
	}
	return nil
}

// Copies returns every place where a copy of the chunk may be read, the least deep first,
// condemned packs included.
func (c *Catalog) Copies(id Key) []Source {
	run := c.find(id)
	var out []Source
	for i := range run {
		r := &run[i]
		if !c.good(r) {
			continue
		}
		out = append(out, Source{ID: r.id, Pack: int(r.pack), Depth: r.depth, Delta: r.flags&isDelta != 0})
	}
	return out
}

// PacksOf returns the packs that hold a copy of the chunk.
func (c *Catalog) PacksOf(id Key) []int {
	run := c.find(id)
	out := make([]int, len(run))
	for i := range run {
		out[i] = int(run[i].pack)
	}
	return out
}

// Placed reports whether the chunk has a location that counts.
func (c *Catalog) Placed(id Key) bool { return c.placed(id, anyDepth) }
