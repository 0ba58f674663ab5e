package repo

import (
	"testing"
	"time"
)

// alone is a collector that has to do with nothing but what it finds.
func alone(name string, before func(s *setup), o PruneOptions) func() *scenario {
	return func() *scenario {
		return &scenario{name: name, setup: before, actors: []actorSpec{prunes("C", o)}}
	}
}

// bWhole leaves b, whole, in P2, and its would-be base B in P1, which nothing needs.
func bWhole(s *setup) {
	s.write("01", "B")
	s.writeWhole("02", "b")
	s.remove("01")
}

var collectorRemovals = []removal{
	{
		rule: "1: condemn before the listings that decide", remove: func(b *broken) { b.collectCondemnLate = true },
		s: func() *scenario {
			return &scenario{
				name: "store beside a prune", setup: func(s *setup) { s.write("01", "A"); s.remove("01") },
				actors: []actorSpec{writes("W", "02", "A", "01"), prunes("C", onlyGarbage)},
			}
		},
		limit: bounds{preemptions: 2},
	},
	{
		rule: "1: roots are named before tombstones decide (trace 7)", remove: func(b *broken) { b.collectTombstonesFirst = true },
		s: func() *scenario {
			return &scenario{
				name: "undelete beside a prune", setup: func(s *setup) { s.write("01", "A"); s.remove("01") },
				actors: []actorSpec{undeletes("U", "01"), prunes("C", onlyGarbage)},
			}
		},
		limit: bounds{preemptions: 2},
	},
	{
		rule: "2: lists first seen later are not touched (trace 8)", remove: func(b *broken) { b.collectSweepLate = true },
		s: lateList, limit: bounds{preemptions: 1},
	},
	{
		rule: "3: manifests are listed after the look", remove: func(b *broken) { b.collectRootsFirst = true },
		s: lateList, limit: bounds{preemptions: 1},
	},
	{
		rule: "3: footers of packs that no fragment names are read", remove: func(b *broken) { b.collectSkipUnnamed = true },
		s: alone("a pack without a fragment", func(s *setup) { s.write("01", "A"); s.drop(indexPrefix) }, onlyGarbage),
	},
	{
		rule: "4: the second look at gc/ (trace 1)", remove: func(b *broken) { b.collectOneLook = true },
		s: func() *scenario {
			return &scenario{
				name: "trace 1",
				setup: func(s *setup) {
					s.write("01", "B")
					s.writeWhole("02", "b")
					s.condemn(nil, "P2")
					time.Sleep(10 * 24 * time.Hour)
					s.remove("01")
				},
				actors: []actorSpec{
					prunes("C1", PruneOptions{Grace: 5 * 24 * time.Hour, MaxUnused: -1}),
					writes("W", "03", "b", "01"), sweeps("C2"),
				},
			}
		},
		trace: []directive{
			{0, "list packs/", 0, 0},
			{1, "put packs/", 0, 0},
			{2, "delete packs/", 0, 0},
			{1, "put manifests/", 0, crashThere},
			{0, "", 0, 0},
			{2, "", 0, 0},
		},
	},
	{
		rule: "5: a copy in a condemned pack is no other location", remove: func(b *broken) { b.collectCountCondemned = true },
		s: alone("two copies, both condemned", func(s *setup) {
			s.write("01", "A")
			s.writeBlind("02", "A")
			s.condemn(nil, "P1", "P2")
		}, onlyGarbage),
	},
	{
		rule: "5: a delta counts only if its base has a location", remove: func(b *broken) { b.collectCountBaseless = true },
		s: alone("a delta whose base is gone", func(s *setup) {
			bWhole(s)
			s.writeBlind("03", "b", "01")
			s.remove("03")
			s.drop("manifests/gp/default/20261101", "manifests/gp/default/20261103", "gc/deleted/")
			s.dropPack("P1")
			s.condemn(nil, "P2")
		}, onlyGarbage),
	},
	{
		rule: "6: bases of live chunks are live", remove: func(b *broken) { b.collectIgnoreBases = true },
		s: alone("a condemned base of two deltas", func(s *setup) {
			s.write("01", "B")
			s.write("02", "b", "01")
			s.write("03", "\xc2", "01")
			s.remove("01")
			s.condemn(nil, "P1")
		}, onlyGarbage),
	},
	{
		rule: "6: bases are taken from every copy, not from manifests", remove: func(b *broken) { b.collectHintBases = true },
		s: alone("deltas took the place of whole chunks", func(s *setup) {
			s.write("01", "B")
			s.writeWhole("02", "b")
			s.writeWhole("03", "\xc2")
			s.writeBlind("04", "b", "01")
			s.writeBlind("05", "\xc2", "01")
			s.remove("01")
			s.remove("04")
			s.remove("05")
			s.dropPack("P2")
			s.dropPack("P3")
			s.condemn(nil, "P1")
		}, onlyGarbage),
	},
	{
		rule: "7: what is live is rescued", remove: func(b *broken) { b.collectNoRescue = true },
		s: alone("a live pack is condemned", func(s *setup) { s.write("01", "A"); s.condemn(nil, "P1") }, onlyGarbage),
	},
	{
		rule: "7: rescued, then removed", remove: func(b *broken) { b.collectRescueLate = true },
		s:     alone("a live pack is condemned", func(s *setup) { s.write("01", "A"); s.condemn(nil, "P1") }, onlyGarbage),
		limit: bounds{faults: 1},
	},
	{
		rule: "7: a condemnation is never withdrawn", remove: func(b *broken) { b.collectWithdraw = true },
		s: func() *scenario {
			return &scenario{
				name: "a condemnation that seemed wrong", setup: func(s *setup) {
					s.write("01", "A")
					s.remove("01")
					s.drop(manifestPrefix, tombstonePrefix)
				},
				actors: []actorSpec{
					writes("W0", "02", "A"), condemns("X", "P1"), prunes("C2", onlyGarbage), prunes("C1", onlyGarbage), writes("W1", "03", "A"),
				},
			}
		},
		trace: []directive{
			{0, "put manifests/", 0, 0},
			{1, "", 0, 0},
			{2, "list gc/", 1, 0},
			{0, "list gc/", 0, crashThere},
			{3, "", 0, 0},
			{4, "", 0, 0},
			{2, "", 0, 0},
		},
	},
	{
		rule: "8: a run that cannot read every root removes nothing", remove: func(b *broken) { b.collectSkipRoots = true },
		s:     alone("a live pack is condemned", func(s *setup) { s.write("01", "A"); s.condemn(nil, "P1") }, onlyGarbage),
		limit: bounds{faults: 1},
	},
	{
		rule: "8: what is gone while it is read starts the listings again (trace 5)", remove: func(b *broken) { b.collectIgnore404 = true },
		s: func() *scenario {
			return &scenario{
				name: "trace 5",
				setup: func(s *setup) {
					s.write("01", "B")
					s.write("02", "b", "01")
					s.write("03", "\xc2", "01")
					s.remove("01")
					s.drop("manifests/gp/default/20261101", tombstonePrefix)
					s.condemn(nil, "P2", "P3")
				},
				actors: []actorSpec{prunes("C1", onlyGarbage), condemns("X", "P1"), prunes("C2", onlyGarbage)},
			}
		},
		trace: []directive{{0, "put packs/", 0, 0}, {1, "", 0, 0}, {2, "get index/", 0, 0}, {0, "", 0, 0}, {2, "", 0, 0}},
	},
	{
		rule: "9: a list stays while a fragment names its packs (trace 2)", remove: func(b *broken) { b.collectListGoesEarly = true },
		s: func() *scenario {
			return &scenario{
				name:   "a fragment that comes late",
				setup:  func(s *setup) { s.write("01", "B") },
				actors: []actorSpec{writes("W0", "02", "A"), prunes("C", onlyGarbage), writesSurely("W1", "03", "A")},
			}
		},
		trace: []directive{{0, "put index/", 0, 0}, {1, "", 0, 0}, {0, "put manifests/", 0, crashThere}, {2, "", 0, 0}},
	},
	{
		rule: "a tombstone stays for writers that stalled", remove: func(b *broken) { b.collectTombstoneGoesEarly = true },
		s: func() *scenario {
			return &scenario{
				name:   "a store that stalls while it is deleted",
				setup:  func(s *setup) { s.write("01", "A") },
				actors: []actorSpec{writes("W", "02", "A"), deletes("D", "02"), prunes("C", onlyGarbage)},
			}
		},
		limit: bounds{preemptions: 1},
	},
	{
		rule: "merging: condemned packs stay (trace 9)", remove: func(b *broken) { b.mergeDropCondemned = true },
		s: merged,
	},
	{
		rule: "merging: first the new fragment, then the old ones go", remove: func(b *broken) { b.mergePutLast = true },
		s: merged, limit: bounds{faults: 1},
	},
}

// merged: a fragment names a pack that is gone, and one that is condemned for less than
// the grace.
func merged() *scenario {
	s := alone("a fragment of two packs", func(s *setup) {
		s.write("01", "AB")
		s.remove("01")
		s.condemn(nil, "P2")
		s.dropPackOnly("P1")
	}, PruneOptions{Grace: 9 * 24 * time.Hour, MinAge: time.Hour, MaxUnused: -1})()
	s.indexed = true
	return s
}

// lateList: something is stored, and only then its pack is condemned by somebody else.
func lateList() *scenario {
	return &scenario{
		name: "a list that comes late",
		setup: func(s *setup) {
			s.write("01", "A")
			s.remove("01")
			s.drop(manifestPrefix, tombstonePrefix)
		},
		actors: []actorSpec{prunes("C", onlyGarbage), writes("W", "02", "A"), condemns("X", "P1")},
	}
}

// TestSimEveryRuleOfTheCollector does for the collector what the test of the writer's
// rules does.
func TestSimEveryRuleOfTheCollector(t *testing.T) { testRemovals(t, collectorRemovals) }
