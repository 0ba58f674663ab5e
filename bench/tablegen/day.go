package tablegen

// Change is what happens to a table in a day, as shares of its rows.
type Change struct {
	Updates float64 // rows updated, of those that were there; not for append-only tables
	Inserts float64 // rows added
	Deletes float64 // rows deleted, of those that were there; not for append-only tables

	// Scatter is where updates and deletes strike: 1 all over the table, as when customers of any age change something;
	// 0 only among the newest tenth of the rows, as when orders are worked off; in between, that share of them all over.
	Scatter float64
}

// Daily is a usual day.
func Daily(kind Kind) Change {
	switch kind {
	case AppendOnly:
		return Change{Inserts: 0.02}
	case Small:
		return Change{Updates: 0.002, Inserts: 0.001, Scatter: 1}
	}
	return Change{Updates: 0.013, Inserts: 0.003, Deletes: 0.001, Scatter: 1}
}

// Moved says what a day did, in rows.
type Moved struct {
	Updated   int // InPage + Elsewhere + AtEnd
	InPage    int // … whose new version is in another slot of the same page
	Elsewhere int // … whose new version is in another page that had room
	AtEnd     int // … whose new version is at the end of the table
	Inserted  int
	Deleted   int
}

// newest is the share of rows that changes with Scatter 0 strike.
const newest = 10

// NextDay ages the table by a day: vacuum, then updates and deletes in random order, then inserts.
func (t *Table) NextDay(c Change) Moved {
	t.day++
	r := random{mix(t.seed + uint64(t.day))}
	var moved Moved
	inserts := int(c.Inserts*float64(t.live) + float64(r.next()>>11)/(1<<53)) // rounded at random: small tables grow too
	if t.kind != AppendOnly {
		t.vacuum(&r)
		for _, slot := range t.choose(c, &r) {
			if slot.deleted {
				t.kill(slot.at)
				moved.Deleted++
			} else {
				t.update(slot.at, &moved)
			}
		}
	}
	for range inserts {
		slot, ok := t.freeSlot()
		if !ok {
			slot = t.atEnd()
		}
		t.put(slot, t.newKey(), 0)
	}
	moved.Inserted = inserts
	return moved
}

// search is the day's way through the pages in search of free space. Like the free space map it hands out pages in
// turn, and begins somewhere.
type search struct {
	first, pages int // where it begins, and how many pages there were
	tried        int // so many of them are full
}

// vacuum frees the slots that died the day before.
func (t *Table) vacuum(r *random) {
	for _, slot := range t.dead {
		t.slots[slot] = free
		t.room[slot/pageSlots]++
	}
	t.dead = t.dead[:0]
	t.search = search{first: int(r.below(uint64(len(t.room)) + 1)), pages: len(t.room)}
}

// choice is a row that something happens to.
type choice struct {
	at      int
	deleted bool
}

// choose draws the rows that are updated or deleted, each at most once, in random order.
func (t *Table) choose(c Change, r *random) []choice {
	const one = 1 << 53
	spread := (c.Updates + c.Deletes) * c.Scatter
	recent := spread + (c.Updates+c.Deletes)*(1-c.Scatter)*newest
	anyLimit, recentLimit := uint64(spread*one), uint64(recent*one)
	deleteLimit := uint64(0)
	if c.Deletes > 0 {
		deleteLimit = uint64(c.Deletes / (c.Updates + c.Deletes) * one)
	}
	var oldest uint32 // of the newest rows
	if n := uint32(t.live / newest); n < t.lastKey {
		oldest = t.lastKey - n
	}
	var chosen []choice
	for i, s := range t.slots {
		if s.key == 0 {
			continue
		}
		limit := anyLimit
		if s.key > oldest {
			limit = recentLimit
		}
		if r.next()>>11 < limit {
			chosen = append(chosen, choice{i, r.next()>>11 < deleteLimit})
		}
	}
	for i := len(chosen) - 1; i > 0; i-- {
		j := r.below(uint64(i + 1))
		chosen[i], chosen[j] = chosen[j], chosen[i]
	}
	return chosen
}

// update writes a new version of a row where PostgreSQL would.
func (t *Table) update(at int, moved *Moved) {
	key := t.slots[at].key
	var to int
	page := at / pageSlots
	if t.room[page] > 0 {
		to = t.freeIn(page)
		moved.InPage++
	} else if slot, ok := t.freeSlot(); ok {
		to = slot
		moved.Elsewhere++
	} else {
		to = t.atEnd()
		moved.AtEnd++
	}
	t.kill(at)
	t.put(to, key, t.day)
	moved.Updated++
}

// freeIn is the first free slot of a page that has one. Slots that died today are not free yet.
func (t *Table) freeIn(page int) int {
	for i := page * pageSlots; ; i++ {
		if t.slots[i] == free {
			return i
		}
	}
}

// freeSlot finds a free slot in the pages that were there in the morning.
func (t *Table) freeSlot() (int, bool) {
	for s := &t.search; s.tried < s.pages; s.tried++ {
		if page := (s.first + s.tried) % s.pages; t.room[page] > 0 {
			return t.freeIn(page), true
		}
	}
	return 0, false
}

// atEnd is the first slot of the table's end: in the last page, or in a new one.
func (t *Table) atEnd() int {
	if n := len(t.room); n == 0 || t.room[n-1] == 0 {
		t.slots = append(t.slots, make([]tuple, pageSlots)...)
		t.room = append(t.room, pageSlots)
	}
	return t.freeIn(len(t.room) - 1)
}
