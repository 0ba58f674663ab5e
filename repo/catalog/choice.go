package catalog

import (
	"cmp"
	"slices"
)

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
