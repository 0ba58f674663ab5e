package repo

import (
	"context"
	"errors"
	"testing"
	"time"
)

// prunes makes an actor of the real collector, which waits for nothing.
func prunes(name string, o PruneOptions) actorSpec {
	return actorSpec{name, func(_ *simActor, ctx context.Context, r *Repo) error {
		_, err := r.Prune(ctx, o)
		return err
	}}
}

var (
	// onlyGarbage leaves what is of any use where it is; everything rewrites all that
	// is not of use as a whole.
	onlyGarbage = PruneOptions{MaxUnused: -1}
	everything  = PruneOptions{MaxUnused: 0, RepackSmall: true}
)

// pruneTwice is an epilogue: nothing more goes that is needed.
func pruneTwice(ctx context.Context, r *Repo) error {
	for range 2 {
		if _, err := r.Prune(ctx, onlyGarbage); err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
	}
	return nil
}

func TestSimPrune(t *testing.T) {
	s := &scenario{
		name:     "store beside a prune",
		setup:    func(s *setup) { s.write("01", "A"); s.remove("01") },
		actors:   []actorSpec{writes("W", "02", "a", "01"), prunes("C", onlyGarbage)},
		epilogue: pruneTwice,
	}
	out := s.run(t, 0, broken{}, schedule{{0, pick{actor: 1}}}.follow(nil))
	t.Log("\n"+out.trace(), out.errs)
	for p := range 3 {
		began := time.Now()
		x := s.exhaust(t, broken{}, bounds{preemptions: p})
		t.Logf("%d runs, %d steps, %d pruned %v", x.runs, x.steps, x.pruned, time.Since(began))
		if x.found != nil {
			x.report(t, s)
		}
	}
}
