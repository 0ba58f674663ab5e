package repo

import (
	"fmt"
	"testing"
)

// removal is a rule that is taken away, and where that shows. With the rule the
// same search finds nothing.
type removal struct {
	rule   string
	remove func(*broken)
	s      func() *scenario
	limit  bounds      // of the search; or, where that would take too long,
	trace  []directive // the way that leads there
}

// takenBack: one backup is deleted, and what another stores is in its packs.
func takenBack(first, second string) func() *scenario {
	return func() *scenario {
		return &scenario{
			name:   "store " + second + " beside the removal of " + first,
			setup:  func(s *setup) { s.write("01", first); s.remove("01") },
			actors: []actorSpec{writes("W", "02", second, "01"), sweeps("C")},
		}
	}
}

// finished: a condemnation is as old as can be; what it names goes.
func finished(before func(s *setup), chunks string, previous ...string) func() *scenario {
	return func() *scenario {
		return &scenario{
			name:   "store " + chunks + " beside the end of an old condemnation",
			setup:  before,
			actors: []actorSpec{writesSurely("W", "02", chunks, previous...), finishes("C")},
		}
	}
}

var writerRemovals = []removal{
	{
		rule: "1: gc/ before index/", remove: func(b *broken) { b.writeIndexFirst = true },
		s:     finished(func(s *setup) { s.write("01", "A"); s.remove("01"); s.condemn([]string{"01"}, "P1") }, "A"),
		limit: bounds{preemptions: 2},
	},
	{
		rule: "1: a hit in a condemned pack is a miss", remove: func(b *broken) { b.writeHitCondemned = true },
		s:     finished(func(s *setup) { s.write("01", "A"); s.remove("01"); s.condemn([]string{"01"}, "P1") }, "A"),
		limit: bounds{preemptions: 2},
	},
	{
		rule: "1: a pack known from a manifest only is asked for", remove: func(b *broken) { b.writeTrustPrevious = true },
		s: finished(func(s *setup) {
			s.write("01", "A")
			s.remove("01")
			s.drop(indexPrefix, packPrefix)
		}, "A", "01"),
	},
	{
		rule: "1: a delta whose base has no location is a miss (trace 4)", remove: func(b *broken) { b.writeHitBaseless = true },
		s: func() *scenario {
			return &scenario{
				name:   "trace 4",
				setup:  func(s *setup) { s.write("01", "B"); s.remove("01") },
				actors: []actorSpec{writes("W0", "02", "b", "01"), writes("W1", "03", "b"), sweeps("C")},
			}
		},
		trace: []directive{{0, "put packs/", 0, 0}, {2, "delete index/", 0, 0}, {0, "put manifests/", 0, 0}, {2, "delete packs/", 0, 0}, {1, "", 0, 0}, {2, "", 0, 0}},
	},
	{
		rule: "2: packs, fragments, manifest", remove: func(b *broken) { b.writeManifestFirst = true },
		s: func() *scenario {
			return &scenario{name: "a writer dies", visible: true, actors: []actorSpec{writes("W", "02", "AB")}}
		},
		limit: bounds{faults: 1},
	},
	{
		rule: "3: publish, then look", remove: func(b *broken) { b.writeNoLook = true },
		s: takenBack("A", "A"), limit: bounds{preemptions: 2},
	},
	{
		rule: "3: the look comes after the manifest", remove: func(b *broken) { b.writeLookFirst = true },
		s: takenBack("A", "A"), limit: bounds{preemptions: 2},
	},
	{
		rule: "3: packs are asked for when gc/ is listed (trace 2)", remove: func(b *broken) { b.writeStatFirst = true },
		s:     takenBack("A", "A"),
		trace: []directive{{0, "put manifests/", 0, 0}, {1, "delete packs/", 0, 0}, {0, "list gc/", 0, 0}, {1, "", 0, 0}, {0, "", 0, 0}},
	},
	{
		rule: "3: packs are asked for (trace 2)", remove: func(b *broken) { b.writeNoStat = true },
		s: takenBack("A", "A"), limit: bounds{preemptions: 2},
	},
	{
		rule: "3: condemned packs are not safe", remove: func(b *broken) { b.writeNoCondemned = true },
		s: takenBack("A", "A"), limit: bounds{preemptions: 2},
	},
	{
		rule: "3: packs of bases are looked at too", remove: func(b *broken) { b.writeLookAtOwn = true },
		s: takenBack("A", "a"), limit: bounds{preemptions: 2},
	},
	{
		rule: "3: a copied delta's base gets a location", remove: func(b *broken) { b.writeBaseless = true },
		s: takenBack("A", "a"), limit: bounds{preemptions: 2},
	},
	{
		rule: "3: another location is one in an uncondemned pack", remove: func(b *broken) { b.writeCountCondemned = true },
		s: func() *scenario {
			return &scenario{
				name: "two copies, both condemned",
				setup: func(s *setup) {
					s.write("01", "A")
					s.writeBlind("02", "A")
					s.remove("01")
					s.remove("02")
				},
				actors: []actorSpec{writes("W", "03", "A"), sweeps("C")},
			}
		},
		limit: bounds{preemptions: 2},
	},
	{
		rule: "3: a tombstone is a failure", remove: func(b *broken) { b.writeIgnoreTombstone = true },
		s: func() *scenario {
			return &scenario{name: "store and delete", actors: []actorSpec{writes("W", "02", "A"), deletes("D", "02")}}
		},
		limit: bounds{preemptions: 1},
	},
	{
		rule: "4: stored already is a success only after a look", remove: func(b *broken) { b.writeAgainNoLook = true },
		s: func() *scenario {
			return &scenario{
				name:   "the same stream twice",
				setup:  func(s *setup) { s.write("01", "A"); s.remove("01") },
				actors: []actorSpec{writes("W0", "02", "A"), writes("W1", "02", "A"), sweeps("C")},
			}
		},
		trace: []directive{{0, "put manifests/", 0, 0}, {1, "put manifests/", 0, 0}, {2, "get manifests/", 0, 0}, {0, "list gc/", 0, crashThere}, {1, "", 0, 0}, {2, "", 0, 0}},
	},
	{
		rule: "undelete looks", remove: func(b *broken) { b.undeleteNoLook = true },
		s: undeleted, limit: bounds{preemptions: 2},
	},
	{
		rule: "undelete looks when the tombstone is gone (trace 7)", remove: func(b *broken) { b.undeleteLookFirst, b.writeIgnoreTombstone = true, true },
		s: undeleted, limit: bounds{preemptions: 2},
	},
	{
		rule: "undelete that comes too late puts the tombstone back", remove: func(b *broken) { b.undeleteNoPutBack = true },
		s: undeleted, limit: bounds{preemptions: 1, faults: 1},
	},
}

func undeleted() *scenario {
	return &scenario{
		name:   "undelete beside the removal",
		setup:  func(s *setup) { s.write("01", "A"); s.remove("01") },
		actors: []actorSpec{undeletes("U", "01"), sweeps("C")},
	}
}

// TestSimEveryRuleOfTheWriter: each of the writer's rules and of undelete's is
// needed, and with all of them the same searches find nothing.
func TestSimEveryRuleOfTheWriter(t *testing.T) { testRemovals(t, writerRemovals) }

func testRemovals(t *testing.T, removals []removal) {
	t.Helper()
	whole := map[string]explored{}
	for _, r := range removals {
		t.Run(r.rule, func(t *testing.T) { r.test(t, whole) })
	}
}

// test searches with the rule, unless whole has what the same search came to, and
// then without it.
func (r *removal) test(t *testing.T, known map[string]explored) {
	s := r.s()
	try := func(b broken) explored {
		if r.trace == nil {
			return s.exhaust(t, b, r.limit)
		}
		reached := 0
		x := explored{found: s.run(t, 0, b, directed(r.trace, &reached)), runs: 1}
		if x.found.violation == "" {
			x.last, x.found = x.found, nil
		}
		return x
	}
	search := fmt.Sprint(s.name, r.limit, r.trace)
	whole, done := known[search]
	if !done {
		whole = try(broken{})
		known[search] = whole
	}
	if whole.found != nil {
		whole.report(t, s)
		return
	}
	var b broken
	r.remove(&b)
	x := try(b)
	if x.found == nil {
		t.Errorf("without the rule %d runs find nothing", x.runs)
		if x.last != nil {
			t.Logf("the trace went this way:\n%s%v", x.last.trace(), x.last.errs)
		}
		return
	}
	t.Logf("%d runs find nothing with the rule; without it the %dth run: %s\n%s", whole.runs, x.runs, x.found.violation, x.found.trace())
}
