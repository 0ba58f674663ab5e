package index

// estimate guesses how many bytes fragments will take here. An entry takes 66 in a
// fragment and 75 here, a delta 99 and 107; with its features, which only the newest
// keep, an entry takes 195. Which entries have some shows when they are loaded; here all
// of the newest do, which is too much rather than too little.
func (b *build) estimate() {
	var entries int64
	for _, at := range b.newestFirst() {
		size := b.l[at].Size
		b.state[at].bytes = size + size/4
		if entries += size / 66; entries <= int64(b.c.opts.FeatureEntries) {
			b.state[at].bytes = 2 * size
		}
	}
}

// limitSize decides which fragments the size limit keeps out. Once the limit is
// reached the oldest go until a quarter is free, so that this does not rewrite the
// generations every time.
func (b *build) limitSize() {
	var total, out int64
	for _, in := range b.inputs {
		total += in.g.size()
	}
	limit := b.c.sizeLimit(total)
	for _, s := range b.state {
		switch s.kind {
		case uncovered:
			total += s.bytes
		case leftOut:
			out += s.bytes
		}
	}
	if total <= limit {
		for i := range b.state {
			if b.state[i].kind == leftOut && total+out <= limit/4*3 {
				b.state[i].kind = uncovered // there is room again
			}
		}
		return
	}
	left := limit / 4 * 3
	for _, at := range b.newestFirst() {
		s := &b.state[at]
		if s.kind != leftOut {
			if left -= s.bytes; left < 0 {
				s.kind = cut
			}
		}
	}
	for _, in := range b.inputs {
		in.absorb = in.live < in.g.entries // dead entries make room first
		for _, row := range in.rows {
			in.absorb = in.absorb || b.state[row.at].kind == cut && !row.leftOut
		}
	}
}
