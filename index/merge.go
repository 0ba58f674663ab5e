package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
)

// dropped in a renumbering says that a pack's entries are not carried over.
const dropped = ^uint32(0)

// generationSource reads a generation for a merge: it leaves out what is dead,
// verifies every row, and gives each pack its new number.
type generationSource struct {
	g        *generation
	walk     *walk
	renumber []uint32 // old pack ordinal -> new
	seen     uint64
	buf      [maxRecord]byte
}

// renumber numbers the packs of g whose fragment keep accepts, from *next on, and
// calls fn for each in order. It returns what generationSource needs.
func (g *generation) renumber(next *uint32, keep func(fragment uint32) (rank uint32, ok bool),
	fn func(number uint32, id []byte, rank uint32) error,
) (numbers []uint32, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchFault(&err)
	w := g.tree.walk(g.packs)
	for n := uint32(0); ; n++ {
		key, row, err := w.next()
		if n == g.packRows && errors.Is(err, io.EOF) {
			return numbers, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: pack %d of %d: %v", errDamaged, n, g.packRows, err)
		}
		if len(key) != 4 {
			return nil, fmt.Errorf("%w: pack key of %d bytes", errDamaged, len(key))
		}
		id, fragment, _, err := g.openPack(key, row)
		if err != nil {
			return nil, err
		}
		// Builders number packs without gaps, so the position is the ordinal.
		if binary.BigEndian.Uint32(key) != n {
			return nil, fmt.Errorf("%w: pack %d is missing", errDamaged, n)
		}
		rank, ok := keep(fragment)
		if !ok {
			numbers = append(numbers, dropped)
			continue
		}
		if err := fn(*next, id[:], rank); err != nil {
			return nil, err
		}
		numbers = append(numbers, *next)
		*next++
	}
}

func (s *generationSource) next() (rec record, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchFault(&err)
	for {
		key, row, err := s.walk.next()
		if errors.Is(err, io.EOF) {
			if s.seen != s.g.entries {
				return nil, fmt.Errorf("%w: %d entries of %d", errDamaged, s.seen, s.g.entries)
			}
			return nil, io.EOF
		}
		if err != nil {
			return nil, err
		}
		s.seen++
		if rec, err = s.g.openRecord(key, row, &s.buf); err != nil {
			return nil, err
		}
		if int(rec.pack()) >= len(s.renumber) {
			return nil, fmt.Errorf("%w: pack %d is missing", errDamaged, rec.pack())
		}
		if number := s.renumber[rec.pack()]; number != dropped {
			rec.setPack(number)
			return rec, nil
		}
	}
}

// head is a source with the record that it gives next.
type head struct {
	rec    record
	prefix uint64
	src    source
}

func (h *head) less(other *head) bool {
	if h.prefix != other.prefix {
		return h.prefix < other.prefix
	}
	return bytes.Compare(h.rec.id(), other.rec.id()) < 0
}

// advance reads the next record; it returns false at the end.
func (h *head) advance() (bool, error) {
	rec, err := h.src.next()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, sourceError{h.src, err}
	}
	h.rec, h.prefix = rec, binary.BigEndian.Uint64(rec)
	return true, nil
}

// sourceError says which source failed.
type sourceError struct {
	src source
	err error
}

func (e sourceError) Error() string { return e.err.Error() }
func (e sourceError) Unwrap() error { return e.err }

// heads is a heap: the least record of all sources is the first head's.
type heads []*head

func newHeads(sources []source) (heads, error) {
	all := make(heads, 0, len(sources))
	for _, src := range sources {
		h := &head{src: src}
		ok, err := h.advance()
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, h)
		}
	}
	for i := len(all)/2 - 1; i >= 0; i-- {
		all.siftDown(i)
	}
	return all, nil
}

// advance reads on in the source of the first head.
func (all *heads) advance() error {
	h := *all
	ok, err := h[0].advance()
	if err != nil {
		return err
	}
	if !ok {
		h[0] = h[len(h)-1]
		h = h[:len(h)-1]
		*all = h
	}
	h.siftDown(0)
	return nil
}

// merge calls emit for each chunk of all sources once, in the order of the ids, with
// its location in the pack of the highest rank.
func merge(sources []source, rank []uint32, emit func(record) error) error {
	all, err := newHeads(sources)
	if err != nil {
		return err
	}
	var buf [maxRecord]byte
	var best record
	for len(all) > 0 {
		h := all[0]
		if best != nil && !bytes.Equal(best.id(), h.rec.id()) {
			if err := emit(best); err != nil {
				return err
			}
			best = nil
		}
		if best == nil || rank[h.rec.pack()] > rank[best.pack()] {
			best = append(buf[:0], h.rec...)
		}
		if err := all.advance(); err != nil {
			return err
		}
	}
	if best == nil {
		return nil
	}
	return emit(best)
}

// siftDown restores the heap below i.
func (all heads) siftDown(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(all); child++ {
			if all[child].less(all[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		all[i], all[least] = all[least], all[i]
		i = least
	}
}
