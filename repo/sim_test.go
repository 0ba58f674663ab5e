package repo

import (
	"context"
	"errors"
	"testing"
)

// TestSimRunsRepeat: the same picks give the same run, to the byte.
func TestSimRunsRepeat(t *testing.T) {
	s := crowd()
	first := ""
	for range 3 {
		var sched schedule
		out := s.run(t, 7, broken{}, wandering(7, true, &sched))
		if first == "" {
			first = out.trace()
		}
		if got := out.trace(); got != first {
			t.Fatalf("the same seed, another run:\n%s\n%s", first, got)
		}
		if again := s.run(t, 7, broken{}, sched.follow(nil)); again.trace() != first {
			t.Fatalf("the seed's schedule, another run:\n%s\n%s", first, again.trace())
		}
	}
}

// TestSimKnownStates: leaving out runs that come to where another has been leaves out
// no violation.
func TestSimKnownStates(t *testing.T) {
	s := takenBack("A", "A")()
	limit := bounds{preemptions: 1}
	for _, b := range []broken{{writeNoStat: true}, {}} {
		known, all := s.exhaust(t, b, limit), s.exhaust(t, b, bounds{preemptions: 1, everyState: true})
		if (known.found == nil) != (all.found == nil) || all.runs < known.runs {
			t.Errorf("%+v: %d runs find %v, all %d find %v", b, known.runs, known.found, all.runs, all.found)
		}
	}
}

// TestSimStoredAgain: a stream that was visible, never acknowledged, and lost the base of
// its delta, is whole again when it is stored again.
func TestSimStoredAgain(t *testing.T) {
	for _, limits := range []func(*Limits){nil, func(l *Limits) { l.SmallPack = 1 << 20 }} {
		s := &scenario{
			limits: limits,
			name:   "stored again",
			setup: func(s *setup) {
				s.write("01", "B")
				s.write("02", "b", "01")
				s.remove("01")
				delete(s.w.must, simName("02"))
				s.drop("manifests/gp/default/20261101", tombstonePrefix)
				s.dropPack("P1")
			},
			actors: []actorSpec{writesSurely("W", "02", "b")},
		}
		if x := s.exhaust(t, broken{}, bounds{}); x.found != nil {
			x.report(t, s)
		}
	}
}

// exploration is a scenario that is gone through within bounds: the first in every
// test, the second when there is time.
type exploration struct {
	s               *scenario
	short, thorough bounds
}

// deletedFirst: the first day is deleted, and the second has a delta to it.
func deletedFirst(s *setup) {
	s.write("01", "A")
	s.write("02", "a", "01")
	s.remove("01")
}

func explorations() []exploration {
	return []exploration{
		{&scenario{
			name: "store beside a prune that rewrites",
			setup: func(s *setup) {
				s.write("01", "AB")
				s.write("02", "aC", "01")
				s.remove("01")
			},
			actors:   []actorSpec{writes("W", "03", "AB", "01"), prunes("C", everything)},
			epilogue: pruneTwice, indexed: true,
		}, bounds{preemptions: 2}, bounds{preemptions: 3}},
		{&scenario{
			name: "store beside a prune, with faults", setup: deletedFirst,
			actors:   []actorSpec{writes("W", "03", "A", "02"), prunes("C", everything)},
			epilogue: pruneTwice, indexed: true,
		}, bounds{faults: 1}, bounds{preemptions: 2, faults: 1}},
		{&scenario{
			name: "two prunes", setup: deletedFirst,
			actors:   []actorSpec{prunes("C1", everything), prunes("C2", everything)},
			epilogue: pruneTwice, indexed: true,
		}, bounds{preemptions: 1}, bounds{preemptions: 3, faults: 1}},
		{&scenario{
			name: "undelete beside a prune", setup: deletedFirst,
			actors:   []actorSpec{undeletes("U", "01"), prunes("C", everything)},
			epilogue: pruneTwice,
		}, bounds{preemptions: 2}, bounds{preemptions: 3, faults: 1}},
		{&scenario{
			name: "listings of no one moment", setup: deletedFirst,
			actors:   []actorSpec{writes("W", "03", "A", "02"), prunes("C", everything)},
			epilogue: pruneTwice, pagedLists: true,
		}, bounds{preemptions: 1}, bounds{preemptions: 3}},
		{&scenario{
			name:     "checkpoints",
			setup:    func(s *setup) { s.write("01", "ABC"); s.remove("01") },
			actors:   []actorSpec{writes("W", "02", "ABCD"), prunes("C", onlyGarbage)},
			limits:   func(l *Limits) { l.CheckpointBytes, l.DirectRows, l.LeafMean = 2*simChunk, 2, 2 },
			epilogue: pruneTwice,
		}, bounds{preemptions: 1}, bounds{preemptions: 2, faults: 1}},
		{&scenario{
			name:     "two stores of the same beside a prune",
			setup:    func(s *setup) { s.write("01", "A"); s.remove("01") },
			actors:   []actorSpec{writes("W0", "02", "A", "01"), writes("W1", "02", "A", "01"), prunes("C", onlyGarbage)},
			epilogue: pruneTwice,
		}, bounds{preemptions: 1}, bounds{preemptions: 2, faults: 1}},
		{&scenario{
			name: "store, delete, undelete, prune", setup: deletedFirst,
			actors:   []actorSpec{writes("W", "03", "A", "02"), undeletes("U", "01"), prunes("C", everything), deletes("D", "02")},
			epilogue: pruneTwice,
		}, bounds{preemptions: 0}, bounds{preemptions: 2}},
		{&scenario{
			name: "store between two prunes", setup: deletedFirst,
			actors:   []actorSpec{writes("W", "03", "A", "02"), prunes("C1", onlyGarbage), prunes("C2", everything)},
			epilogue: pruneTwice,
		}, bounds{preemptions: 1}, bounds{preemptions: 3}},
		{&scenario{
			name: "store between a prune and a collector that never rescues", setup: deletedFirst,
			actors:   []actorSpec{writes("W", "03", "A", "02"), prunes("C1", onlyGarbage), sweeps("C2")},
			epilogue: pruneTwice,
		}, bounds{preemptions: 1}, bounds{preemptions: 3}},
	}
}

// pruneTwice is an epilogue: nothing more goes that is needed.
func pruneTwice(ctx context.Context, r *Repo) error {
	for range 2 {
		if _, err := r.Prune(ctx, onlyGarbage); err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
	}
	return nil
}

// TestSimExplore goes through every schedule within the bounds.
func TestSimExplore(t *testing.T) {
	for _, e := range explorations() {
		t.Run(e.s.name, func(t *testing.T) { e.explore(t, e.short) })
	}
}

func (e *exploration) explore(t *testing.T, limit bounds) {
	x := e.s.exhaust(t, broken{}, limit)
	t.Logf("%d runs, %d steps, %d ended where another had been", x.runs, x.steps, x.pruned)
	if x.found != nil {
		x.report(t, e.s)
	}
}

// crowd is more than can be gone through.
func crowd() *scenario {
	return &scenario{
		name: "crowd",
		setup: func(s *setup) {
			s.write("01", "ABC")
			s.write("02", "aBD", "01")
			s.writeBlind("03", "AE")
			s.remove("01")
			s.remove("03")
		},
		actors: []actorSpec{
			writes("W0", "04", "ABc", "01"), writes("W1", "05", "abEd", "02"), writes("W2", "05", "abEd", "03"),
			undeletes("U", "03"), deletes("D", "02"),
			prunes("C1", everything), prunes("C2", onlyGarbage), prunes("C3", everything),
		},
		epilogue: pruneTwice,
	}
}

// few is smaller, with deltas that took the place of whole chunks.
func few() *scenario {
	return &scenario{
		name: "few",
		setup: func(s *setup) {
			s.write("01", "B")
			s.writeWhole("02", "b")
			s.write("03", "\xc2", "01")
			s.writeBlind("04", "b", "01")
			s.remove("01")
			s.remove("04")
		},
		actors: []actorSpec{
			writes("W0", "05", "b", "01"), writes("W1", "06", "Bb", "03"), undeletes("U", "01"),
			prunes("C1", everything), prunes("C2", onlyGarbage), sweeps("S"),
		},
		epilogue: pruneTwice,
	}
}

// TestSimSeeds draws schedules from seeds: more actors, more changes between them,
// more faults than can be gone through.
func TestSimSeeds(t *testing.T) { seeds(t, 1, 60) }

// seeds runs n schedules of each kind.
func seeds(t *testing.T, from uint64, n int) {
	t.Helper()
	for _, paged := range []bool{false, true} {
		for _, s := range []*scenario{crowd(), few()} {
			s.pagedLists = paged
			x := s.wander(t, broken{}, from, n, true)
			t.Logf("%s: %d runs, %d steps", s.name, x.runs, x.steps)
			if x.found != nil {
				x.report(t, s)
			}
		}
	}
}
