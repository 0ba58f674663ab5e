package delta

import (
	"slices"
	"sort"
)

// Composer applies deltas one after another without making the contents in between:
// it keeps a content as the pieces of a base and of literals that it is made of. To
// make a content takes the time of all its bytes, to apply a delta to the pieces that
// of all of them, so they should be few: see Pieces. It is not safe for concurrent use.
type Composer struct {
	pieces, next []piece
	sources      [][]byte // what pieces are of: the base, and deltas
}

// piece is a stretch of the content: where it is from, and where in the content it
// ends. Contents and deltas are shorter than 4 GiB.
type piece struct{ source, from, end uint32 }

// Start begins with a content, which must stay as it is until the last AppendTo.
func (c *Composer) Start(base []byte) {
	clear(c.sources)
	c.sources = append(c.sources[:0], base)
	c.pieces = c.pieces[:0]
	if len(base) > 0 {
		c.pieces = append(c.pieces, piece{end: uint32(len(base))})
	}
}

// Pieces returns how many pieces the content is made of.
func (c *Composer) Pieces() int { return len(c.pieces) }

// Apply makes the content the target of a delta, which is exactly size bytes long. The
// delta must stay as it is until the last AppendTo. After an error, which is the one
// that Decode would have returned, the content is what it was.
func (c *Composer) Apply(delta []byte, size int) error {
	r, literals, err := newReader(delta, c.length(), size)
	if err != nil {
		return err
	}
	source, taken := uint32(len(c.sources)), uint32(len(delta)-len(literals))
	made := uint32(0)
	c.next = c.next[:0]
	at := 0 // the piece that the copy before ended in
	for r.count > 0 {
		insert, start, n, err := r.next()
		if err != nil {
			return err
		}
		if insert > 0 {
			made += uint32(insert)
			c.next = append(c.next, piece{source, taken, made})
			taken += uint32(insert)
		}
		if n > 0 {
			at = c.copy(at, uint32(start), uint32(n), made)
			made += uint32(n)
		}
	}
	if err := r.finish(); err != nil {
		return err
	}
	c.pieces, c.next = c.next, c.pieces
	c.sources = append(c.sources, delta)
	return nil
}

// copy appends n bytes of the content, from start on, to next, of which made bytes are
// there. at is a piece near which they probably begin; it returns the one that they end in.
func (c *Composer) copy(at int, start, n, made uint32) int {
	at = c.find(at, start)
	begin, end := c.begin(at), start+n
	moved := made - start // from the content to the target; it may wrap
	next := c.next
	for c.pieces[at].end < end {
		p := c.pieces[at]
		next = append(next, piece{p.source, p.from + start - begin, p.end + moved})
		start, begin = p.end, p.end
		at++
	}
	p := c.pieces[at]
	c.next = append(next, piece{p.source, p.from + start - begin, end + moved})
	return at
}

// find returns the piece that holds the offset, which is within the content: near at,
// because copies mostly follow each other, or wherever it is.
func (c *Composer) find(at int, offset uint32) int {
	const near = 16
	pieces := c.pieces
	if c.begin(at) <= offset {
		for n := near; n > 0; n-- {
			if offset < pieces[at].end {
				return at
			}
			at++ // there is a next one: the last ends where the content does
		}
	}
	return sort.Search(len(pieces), func(i int) bool { return offset < pieces[i].end })
}

// begin returns where in the content a piece begins.
func (c *Composer) begin(i int) uint32 {
	if i == 0 {
		return 0
	}
	return c.pieces[i-1].end
}

func (c *Composer) length() int { return int(c.begin(len(c.pieces))) }

// AppendTo appends the content to dst.
func (c *Composer) AppendTo(dst []byte) []byte {
	dst = slices.Grow(dst, c.length())
	begin := uint32(0)
	for _, p := range c.pieces {
		dst = append(dst, c.sources[p.source][p.from:p.from+p.end-begin]...)
		begin = p.end
	}
	return dst
}
