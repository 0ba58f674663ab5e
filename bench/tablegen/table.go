package tablegen

import (
	"fmt"
	"io"
	"math"
	"math/bits"
)

// Kind says what a table holds and how it ages.
type Kind int

// The kinds of tables.
const (
	Heap       Kind = iota // orders: about 155 bytes a row, updated all over
	AppendOnly             // events: about 130 bytes a row, only appended
	Small                  // a lookup table: about 60 bytes a row
)

// pageSlots is how many rows a page has room for: 32 KiB, as Greenplum has them, and rows of 155 bytes with headers.
const pageSlots = 180

// tuple is one slot of a page. A slot without a row has key 0.
type tuple struct {
	key uint32
	day uint32 // of the row's last update; 0: as inserted
}

// What a slot without a row holds: one that is dead becomes free when vacuum has run.
var (
	free = tuple{}
	dead = tuple{day: math.MaxUint32}
)

// Table is one table, on one segment. It may be written by several goroutines at once, but not while NextDay runs.
type Table struct {
	kind    Kind
	seed    uint64
	day     uint32
	lastKey uint32
	live    int
	slots   []tuple
	room    []uint8  // free slots of each page
	dead    []uint32 // slots that the next vacuum frees
	search  search   // for free space, today
}

// New makes a table of so many rows, on its first day. It panics if there are more rows than keys.
func New(kind Kind, seed uint64, rows int) *Table {
	if rows < 0 || uint64(rows) > math.MaxUint32/2 {
		panic(fmt.Sprintf("tablegen: a table of %d rows", rows))
	}
	t := &Table{kind: kind, seed: mix(seed ^ uint64(kind)<<56)}
	r := random{t.seed}
	for t.live < rows {
		page := len(t.room)
		t.slots = append(t.slots, make([]tuple, pageSlots)...)
		t.room = append(t.room, pageSlots)
		keep := 0
		if kind == Heap {
			keep = freeAtFirst(&r)
		}
		for i := page * pageSlots; i < len(t.slots) && t.live < rows; i++ {
			// The free slots are anywhere in the page: as many of the slots left as are still wanted.
			if left := len(t.slots) - i; keep > 0 && r.below(uint64(left)) < uint64(keep) {
				keep--
				continue
			}
			t.put(i, t.newKey(), 0)
		}
	}
	return t
}

// Many makes n small tables: most have 1 to 300 rows, one in eight is empty.
func Many(seed uint64, n int) []*Table {
	r := random{mix(seed)}
	tables := make([]*Table, n)
	for i := range tables {
		rows := 0
		if r.below(8) > 0 {
			rows = 1 + int(r.below(300)*r.below(300)/300)
		}
		tables[i] = New(Small, r.next(), rows)
	}
	return tables
}

// freeAtFirst is how many slots of a page of a new heap table are free: two or three, at most five.
func freeAtFirst(r *random) int { return bits.OnesCount64(r.next() >> 59) }

// Rows is how many rows the table has.
func (t *Table) Rows() int { return t.live }

// Day is how often NextDay was called.
func (t *Table) Day() int { return int(t.day) }

// WriteTo writes the table as text, in physical order.
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	const full = 128 << 10
	buffer := make([]byte, 0, full+1024)
	var total int64
	flush := func() error {
		n, err := w.Write(buffer)
		total += int64(n)
		buffer = buffer[:0]
		return err
	}
	for _, s := range t.slots {
		if s.key == 0 {
			continue
		}
		buffer = t.appendRow(buffer, s)
		if len(buffer) >= full {
			if err := flush(); err != nil {
				return total, err
			}
		}
	}
	if len(buffer) == 0 {
		return total, nil
	}
	err := flush()
	return total, err
}

func (t *Table) newKey() uint32 {
	t.lastKey++
	return t.lastKey
}

// put places a row in a free slot.
func (t *Table) put(slot int, key, day uint32) {
	t.slots[slot] = tuple{key, day}
	t.room[slot/pageSlots]--
	t.live++
}

// kill takes a row out of its slot, which stays unusable until vacuum has run.
func (t *Table) kill(slot int) {
	t.slots[slot] = dead
	t.dead = append(t.dead, uint32(slot))
	t.live--
}
