package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// tree reads the pages of a bbolt file that nobody writes any more. It exists for
// damaged files: bbolt's own search and cursor trust every page number, so a page
// that leads back to one above it ends in a stack overflow or an endless loop, and
// lengths that point anywhere read anywhere. Here every offset is checked against
// the file and every descent is bounded. The format, after bbolt's
// internal/common, has not changed since boltdb 1.0:
//
//	page    id u64 | flags u16 | count u16 | overflow u32 | elements | data
//	branch  pos u32 | key size u32 | page id u64        pos counts from the element
//	leaf    flags u32 | pos u32 | key size u32 | value size u32
//	bucket  root page id u64 (0: the page follows inline) | sequence u64
//
// All integers are in the byte order of the host that wrote the file.
type tree struct {
	data     []byte // the whole file
	pageSize int
}

// page is one page with its overflow pages.
type page []byte

const (
	pageHeader  = 16
	elementSize = 16
	branchPage  = 1
	leafPage    = 2
	bucketFlag  = 1
	maxDepth    = 24 // more than any file of two or more keys a page can have
)

// errDamaged is wrapped by everything that makes a generation unusable for good.
var errDamaged = errors.New("damaged generation")

func (t *tree) page(id uint64) (page, error) {
	if id >= uint64(len(t.data)/t.pageSize) {
		return nil, fmt.Errorf("%w: page %d lies beyond the end", errDamaged, id)
	}
	at := int(id) * t.pageSize
	p := t.data[at:]
	size := (1 + int(binary.NativeEndian.Uint32(p[12:]))) * t.pageSize
	if binary.NativeEndian.Uint64(p) != id || size > len(p) {
		return nil, fmt.Errorf("%w: page %d is not itself", errDamaged, id)
	}
	return checked(p[:size:size])
}

// checked makes sure that the page's elements lie within it.
func checked(p page) (page, error) {
	if len(p) < pageHeader || len(p) < pageHeader+p.count()*elementSize {
		return nil, fmt.Errorf("%w: page is too short for its elements", errDamaged)
	}
	if f := p.flags(); f != branchPage && f != leafPage || f == branchPage && p.count() == 0 {
		return nil, fmt.Errorf("%w: page of type %#x with %d elements", errDamaged, p.flags(), p.count())
	}
	return p, nil
}

func (p page) flags() uint16 { return binary.NativeEndian.Uint16(p[8:]) }
func (p page) count() int    { return int(binary.NativeEndian.Uint16(p[10:])) }

// branch returns element i of a branch page; ok is false where it leaves the page.
func (p page) branch(i int) (key []byte, child uint64, ok bool) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(p) { // the count was checked, but the file may change
		return nil, 0, false
	}
	e := p[at : at+elementSize]
	from := at + int(binary.NativeEndian.Uint32(e))
	to := from + int(binary.NativeEndian.Uint32(e[4:]))
	if to > len(p) {
		return nil, 0, false
	}
	return p[from:to], binary.NativeEndian.Uint64(e[8:]), true
}

// leaf returns element i of a leaf page; ok is false where it leaves the page.
func (p page) leaf(i int) (key, value []byte, flags uint32, ok bool) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(p) {
		return nil, nil, 0, false
	}
	e := p[at : at+elementSize]
	from := at + int(binary.NativeEndian.Uint32(e[4:]))
	mid := from + int(binary.NativeEndian.Uint32(e[8:]))
	to := mid + int(binary.NativeEndian.Uint32(e[12:]))
	if to > len(p) {
		return nil, nil, 0, false
	}
	return p[from:mid], p[mid:to], binary.NativeEndian.Uint32(e), true
}

// key returns the key of element i of either kind of page.
func (p page) key(i int, leaf bool) ([]byte, bool) {
	if leaf {
		k, _, _, ok := p.leaf(i)
		return k, ok
	}
	k, _, ok := p.branch(i)
	return k, ok
}

// search returns the first element whose key is not less than key, and whether the
// two are equal.
func (p page) search(key []byte, leaf bool) (i int, exact bool, err error) {
	lo, hi := 0, p.count()
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		k, ok := p.key(mid, leaf)
		if !ok {
			return 0, false, fmt.Errorf("%w: element leaves its page", errDamaged)
		}
		switch c := bytes.Compare(k, key); {
		case c == 0:
			return mid, true, nil
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, false, nil
}

// get returns the value under key below root, and its flags. The value lies in the
// mapping.
func (t *tree) get(root page, key []byte) (value []byte, flags uint32, found bool, err error) {
	p := root
	for range maxDepth {
		leaf := p.flags() == leafPage
		i, exact, err := p.search(key, leaf)
		if err != nil {
			return nil, 0, false, err
		}
		if leaf {
			if !exact {
				return nil, 0, false, nil
			}
			_, value, flags, ok := p.leaf(i)
			if !ok {
				return nil, 0, false, fmt.Errorf("%w: element leaves its page", errDamaged)
			}
			return value, flags, true, nil
		}
		if !exact && i > 0 {
			i--
		}
		_, child, ok := p.branch(i)
		if !ok {
			return nil, 0, false, fmt.Errorf("%w: element leaves its page", errDamaged)
		}
		if p, err = t.page(child); err != nil {
			return nil, 0, false, err
		}
	}
	return nil, 0, false, fmt.Errorf("%w: pages lead in a circle", errDamaged)
}

// bucket returns the root page of a bucket named in the root directory.
func (t *tree) bucket(root page, name string) (page, error) {
	value, flags, found, err := t.get(root, []byte(name))
	if err != nil {
		return nil, err
	}
	if !found || flags&bucketFlag == 0 || len(value) < 16 {
		return nil, fmt.Errorf("%w: bucket %s is missing", errDamaged, name)
	}
	if id := binary.NativeEndian.Uint64(value); id != 0 {
		return t.page(id)
	}
	return checked(page(value[16:]))
}

// walk reads a bucket in the order of its keys.
type walk struct {
	t     *tree
	stack []step
	prev  []byte
	steps int // pages that may still be entered
}

type step struct {
	p page
	i int
}

func (t *tree) walk(root page) *walk {
	t.readAhead(root)
	return &walk{t: t, stack: []step{{p: root}}, steps: len(t.data)/t.pageSize + 1}
}

// readAhead has the kernel begin to read the pages below a branch page, of which a walk
// will need all: else each would be a wait for the disk. Most follow each other in the
// file, because builders write in order; single ones are not worth a call. What the
// kernel makes of it is its own affair.
func (t *tree) readAhead(p page) {
	if p.flags() != branchPage {
		return
	}
	const enough, gap = 4, 8 // pages
	pages := uint64(len(t.data) / t.pageSize)
	var from, to uint64
	ask := func() {
		if to-from >= enough {
			_ = unix.Madvise(t.data[from*uint64(t.pageSize):to*uint64(t.pageSize)], unix.MADV_WILLNEED)
		}
	}
	for i := range p.count() {
		_, child, ok := p.branch(i)
		if !ok || child >= pages {
			return // the walk will say so
		}
		if child < to || child > to+gap {
			ask()
			from = child
		}
		to = child + 1
	}
	ask()
}

// next returns the next row, which lies in the mapping, or io.EOF. Keys that do not
// rise are damage, and so are more pages than the file has: it always ends.
func (w *walk) next() (key, value []byte, err error) {
	for len(w.stack) > 0 {
		s := &w.stack[len(w.stack)-1]
		if s.i >= s.p.count() {
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		i := s.i
		s.i++
		if s.p.flags() == leafPage {
			key, value, _, ok := s.p.leaf(i)
			if !ok || bytes.Compare(key, w.prev) <= 0 {
				return nil, nil, fmt.Errorf("%w: keys out of order", errDamaged)
			}
			w.prev = key
			return key, value, nil
		}
		_, child, ok := s.p.branch(i)
		w.steps--
		if !ok || w.steps < 0 || len(w.stack) >= maxDepth {
			return nil, nil, fmt.Errorf("%w: pages lead in a circle", errDamaged)
		}
		p, err := w.t.page(child)
		if err != nil {
			return nil, nil, err
		}
		w.t.readAhead(p)
		w.stack = append(w.stack, step{p: p})
	}
	return nil, nil, io.EOF
}
