package repo

import "testing"

func TestSimWriterAndSweeper(t *testing.T) {
	s := &scenario{
		name: "writer and sweeper",
		setup: func(s *setup) {
			s.write("01", "AB")
			s.write("02", "AC", "01")
			s.remove("01")
		},
		actors: []actorSpec{writes("W", "03", "ABC", "01"), sweeps("C")},
	}
	out := s.run(t, 0, broken{}, schedule(nil).follow(nil))
	t.Log("\n"+out.trace(), out.errs)
	x := s.exhaust(t, broken{}, bounds{preemptions: 3})
	t.Logf("%d runs, %d steps, %d pruned", x.runs, x.steps, x.pruned)
	if x.found != nil {
		x.report(t, s)
	}
}
