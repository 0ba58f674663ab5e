package repo

import (
	"testing"
	"time"
)

var pruneExplorations = []struct {
	s     *scenario
	limit bounds
}{
	{&scenario{
		name:     "a store beside a prune that rewrites",
		setup:    func(s *setup) { s.write("01", "AB"); s.write("02", "aC", "01"); s.remove("01") },
		actors:   []actorSpec{writes("W", "03", "AB", "01"), prunes("C", everything)},
		epilogue: pruneTwice,
	}, bounds{preemptions: 2}},
	{&scenario{
		name:     "a store beside a prune, with faults",
		setup:    func(s *setup) { s.write("01", "A"); s.write("02", "a", "01"); s.remove("01") },
		actors:   []actorSpec{writes("W", "03", "A", "02"), prunes("C", everything)},
		epilogue: pruneTwice,
	}, bounds{preemptions: 1, faults: 1}},
	{&scenario{
		name:     "two prunes",
		setup:    func(s *setup) { s.write("01", "A"); s.write("02", "a", "01"); s.remove("01") },
		actors:   []actorSpec{prunes("C1", everything), prunes("C2", everything)},
		epilogue: pruneTwice,
	}, bounds{preemptions: 2}},
	{&scenario{
		name:     "undelete beside a prune",
		setup:    func(s *setup) { s.write("01", "A"); s.write("02", "a", "01"); s.remove("01") },
		actors:   []actorSpec{undeletes("U", "01"), prunes("C", everything)},
		epilogue: pruneTwice,
	}, bounds{preemptions: 2, faults: 0}},
	{&scenario{
		name:       "listings of no one moment",
		setup:      func(s *setup) { s.write("01", "A"); s.write("02", "a", "01"); s.remove("01") },
		actors:     []actorSpec{writes("W", "03", "A", "02"), prunes("C", everything)},
		epilogue:   pruneTwice,
		pagedLists: true,
	}, bounds{preemptions: 2}},
}

func TestSimPruneExplore(t *testing.T) {
	for _, e := range pruneExplorations {
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

func manyWith(collectors ...actorSpec) *scenario {
	return &scenario{
		name: "many",
		setup: func(s *setup) {
			s.write("01", "ABC")
			s.write("02", "aBD", "01")
			s.writeBlind("03", "AE")
			s.remove("01")
			s.remove("03")
		},
		actors: append([]actorSpec{
			writes("W0", "04", "ABc", "01"), writes("W1", "05", "abEd", "02"), writes("W2", "05", "abEd", "03"),
			undeletes("U", "03"), deletes("D", "02"),
		}, collectors...),
		epilogue: pruneTwice,
	}
}

func TestSimPruneSeeds(t *testing.T) {
	s := manyWith(prunes("C1", everything), prunes("C2", onlyGarbage), prunes("C3", everything))
	for _, paged := range []bool{false, true} {
		s.pagedLists = paged
		began := time.Now()
		x := s.wander(t, broken{}, 1, 400, true)
		t.Logf("%d runs, %d steps; %v", x.runs, x.steps, time.Since(began))
		if x.found != nil {
			x.report(t, s)
		}
	}
}
