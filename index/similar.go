package index

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/gpdedup/gpdedup/digest"
)

// likely is a chunk that shares super-features with what is looked for.
type likely struct {
	id       digest.ID
	loc      Location
	shared   int // super-features, of three
	fragment int // where its fragment is in the listing
}

// Similar returns a chunk that shares a super-feature with sf and whose pack is
// usable (nil accepts every pack): the one that shares most, and of those the newest.
// usable is called while nothing is locked.
//
// The answer is a hint, as all similarity is: the caller makes a delta and stores the
// chunk whole where that does not pay. It knows the newest backups only (see
// CacheOptions.FeatureEntries), and each generation one chunk per super-feature, so
// that an older chunk that shares more may be passed over.
func (v *View) Similar(sf [superFeatures]uint64, usable func(pack digest.ID) bool) (id digest.ID, loc Location, ok bool) {
	s := v.scratch()
	defer v.pool.Put(s)
	best := &s.best
	best.shared = 0
	offer := func(l *likely) {
		better := l.shared > best.shared || l.shared == best.shared && v.listed.newer(l.fragment, best.fragment)
		if better && (usable == nil || usable(l.loc.Pack)) {
			*best = *l
		}
	}
	v.similarRecent(&sf, &s.found[0], offer)
	for _, g := range v.gens {
		if best.shared == superFeatures {
			break // generations are looked at newest first: nothing is better
		}
		if g.broken.Load() {
			continue
		}
		// A chunk that shares all of them is the best that g has, unless its pack is not
		// usable.
		for _, enough := range []int{superFeatures, superFeatures + 1} {
			n, err := g.similar(&sf, s, enough)
			if err != nil {
				v.fail(g, err)
				break
			}
			for i := range s.found[:n] {
				offer(&s.found[i])
			}
			if n == 0 || s.found[n-1].shared < enough || best.shared == superFeatures {
				break
			}
		}
	}
	return best.id, best.loc, best.shared > 0
}

// similar collects in s.found the live chunks of g that share super-features, at most
// three, and returns how many there are. It ends with one that shares enough.
func (g *generation) similar(sf *[superFeatures]uint64, s *scratch, enough int) (n int, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchFault(&err)
	if g.featureRows == 0 {
		return 0, nil
	}
	var keys [superFeatures][keySize]byte
	distinct := keys[:0]
	for i, super := range sf {
		number := featureNumber(g.salt, i, super)
		if may, err := g.mayHave(number); err != nil {
			return 0, err
		} else if !may {
			continue
		}
		row, found, err := g.findFeature(number, s)
		if err != nil {
			return 0, err
		}
		if !found || slices.Contains(distinct, [keySize]byte(row)) {
			continue
		}
		distinct = append(distinct, [keySize]byte(row))
		l := &s.found[n]
		if ok, err := g.resolve(&distinct[len(distinct)-1], sf, l, s); err != nil {
			return 0, err
		} else if ok {
			n++
			if l.shared >= enough {
				break
			}
		}
	}
	return n, nil
}

// resolve looks a chunk up by the front of its id.
func (g *generation) resolve(key *[keySize]byte, sf *[superFeatures]uint64, l *likely, s *scratch) (ok bool, err error) {
	row, _, found, err := g.tree.get(g.chunks, key[:])
	if err == nil && !found {
		err = fmt.Errorf("%w: the chunk of a super-feature is missing", errDamaged)
	}
	if err != nil {
		return false, err
	}
	rec, err := g.openRecord(key[:], row, &s.buf)
	if err != nil {
		return false, err
	}
	// Where two chunks agree in the front of their ids this may be the other one.
	if l.shared = rec.shared(sf); l.shared == 0 {
		return false, nil
	}
	pack, fragment, found, err := g.pack(rec.pack(), s)
	if err == nil && !found {
		err = fmt.Errorf("%w: pack %d is missing", errDamaged, rec.pack())
	}
	if err != nil {
		return false, err
	}
	position, live := g.position(fragment)
	if !live {
		return false, nil
	}
	l.id, l.loc, l.fragment = digest.ID(rec.id()), rec.location(pack), position
	return true, nil
}

// shared counts the super-features that the record has in common with sf.
func (r record) shared(sf *[superFeatures]uint64) (n int) {
	features, ok := r.features()
	for i := range features {
		if ok && features[i] == sf[i] {
			n++
		}
	}
	return n
}

// recentFeature says that a record of the recent fragments has a super-feature.
type recentFeature struct {
	super  uint64
	record uint32 // in View.recent
}

// maxRecent bounds how many chunks of one super-feature are considered. Honest ones
// seldom share one with more than a few others.
const maxRecent = 16

// similarRecent offers the chunks of the recent fragments. l is where it puts them.
func (v *View) similarRecent(sf *[superFeatures]uint64, l *likely, offer func(*likely)) {
	v.similarOnce.Do(v.indexRecent)
	for i, super := range sf {
		table := v.similar[i]
		from, _ := slices.BinarySearchFunc(table, super, func(f recentFeature, super uint64) int { return cmp.Compare(f.super, super) })
		for _, f := range table[from:min(len(table), from+maxRecent)] {
			if f.super != super {
				break
			}
			rec := v.recent.record(int(f.record))
			*l = likely{
				id: digest.ID(rec.id()), loc: rec.location(v.packs[rec.pack()]),
				shared: rec.shared(sf), fragment: v.fragments[rec.pack()],
			}
			offer(l)
		}
	}
}

// indexRecent sorts the super-features of the recent fragments, the newest chunks
// first. It waits for the first Similar, because most processes never ask.
func (v *View) indexRecent() {
	for i := range v.recent.refs {
		if features, ok := v.recent.record(i).features(); ok {
			for k, super := range features {
				v.similar[k] = append(v.similar[k], recentFeature{super, uint32(i)})
			}
		}
	}
	for _, table := range v.similar {
		slices.SortFunc(table, func(x, y recentFeature) int {
			if c := cmp.Compare(x.super, y.super); c != 0 {
				return c
			}
			fx := v.fragments[v.recent.record(int(x.record)).pack()]
			fy := v.fragments[v.recent.record(int(y.record)).pack()]
			switch {
			case v.listed.newer(fx, fy):
				return -1
			case v.listed.newer(fy, fx):
				return 1
			}
			return cmp.Compare(x.record, y.record)
		})
	}
}
