package catalog

import "maps"

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
