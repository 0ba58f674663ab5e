package repo

import (
	"testing"
	"time"
)

// TestSimRunsRepeat: the same picks give the same run, and a run in which nothing
// was lost to pruning of known states finds no less than one with it.
func TestSimRunsRepeat(t *testing.T) {
	s := takenBack("AB", "Ab")()
	var first string
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

// explorations are gone through exhaustively within their bounds.
var explorations = []struct {
	s     *scenario
	limit bounds
}{
	{takenBack("AB", "Ab")(), bounds{preemptions: 2}},
	{takenBack("A", "A")(), bounds{preemptions: 1, faults: 1}},
	{&scenario{
		name:       "a store between two collectors, listings of no one moment",
		setup:      func(s *setup) { s.write("01", "A"); s.remove("01") },
		actors:     []actorSpec{writes("W", "02", "a", "01"), sweeps("C1"), sweeps("C2")},
		pagedLists: true,
	}, bounds{preemptions: 1}},
	{&scenario{
		name:   "two stores of the same",
		setup:  func(s *setup) { s.write("01", "A"); s.remove("01") },
		actors: []actorSpec{writes("W0", "02", "A", "01"), writes("W1", "02", "A", "01"), sweeps("C")},
	}, bounds{preemptions: 2}},
	{&scenario{
		name:   "store, delete, undelete, collect",
		setup:  func(s *setup) { s.write("01", "A"); s.write("02", "a", "01"); s.remove("01") },
		actors: []actorSpec{writes("W", "03", "A", "02"), undeletes("U", "01"), sweeps("C"), deletes("D", "02")},
	}, bounds{preemptions: 1}},
}

func TestSimExplore(t *testing.T) {
	for _, e := range explorations {
		t.Run(e.s.name, func(t *testing.T) {
			began := time.Now()
			x := e.s.exhaust(t, broken{}, e.limit)
			t.Logf("%d runs, %d steps, %d ended where another had been; %v", x.runs, x.steps, x.pruned, time.Since(began))
			if x.found != nil {
				x.report(t, e.s)
			}
		})
	}
}

// TestSimSeeds draws schedules from seeds: more actors, more changes between them,
// more faults than could be gone through.
func TestSimSeeds(t *testing.T) {
	s := &scenario{
		name: "many",
		setup: func(s *setup) {
			s.write("01", "ABC")
			s.write("02", "aBD", "01")
			s.writeBlind("03", "AE")
			s.remove("01")
			s.remove("03")
		},
		actors: []actorSpec{
			writes("W0", "04", "ABc", "01"), writes("W1", "05", "abEd", "02"), writes("W2", "05", "abEd", "03"),
			sweeps("C1"), sweeps("C2"), undeletes("U", "03"), deletes("D", "02"),
		},
	}
	for _, paged := range []bool{false, true} {
		s.pagedLists = paged
		began := time.Now()
		x := s.wander(t, broken{}, 1, 500, true)
		t.Logf("%d runs, %d steps; %v", x.runs, x.steps, time.Since(began))
		if x.found != nil {
			x.report(t, s)
		}
	}
}
