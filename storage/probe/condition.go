package probe

import (
	"errors"
	"fmt"
	"sync"

	"github.com/gpdedup/gpdedup/storage"
)

// writers is how many race for one name, rounds how often.
const (
	writers = 8
	rounds  = 6
)

// condition finds out whether a put that must not replace does not: alone, and when
// many race for a name that is free. One must win then, and all others must hear
// that they lost.
func (p *prober) condition() error {
	const name = "conditional put"
	weak := func(format string, args ...any) error {
		p.report.Traits.ConditionalPut = storage.No
		p.find(name, Weak, format+": of two writers of one name at once, both may believe that they won", args...)
		return nil
	}
	if p.hasTraits {
		if p.traited.Traits().ConditionalPut == storage.No {
			return weak("refused")
		}
		// Nothing but the target itself keeps writers apart now.
		p.traited.SetTraits(storage.Traits{ConditionalPut: storage.Yes})
	}
	err := p.st.Put(p.ctx, p.dir+"first", []byte("other bytes"))
	if err == nil {
		return weak("ignored")
	}
	if !errors.Is(err, storage.ErrExists) {
		return err
	}
	for round := range rounds {
		won, err := p.race(p.key(fmt.Sprintf("race-%d", round)))
		if err != nil {
			return err
		}
		if won != 1 {
			return weak("not reliable (in a race of %d writers %d were told that they won)", writers, won)
		}
	}
	p.report.Traits.ConditionalPut = storage.Yes
	p.find(name, Good, "in %d races of %d writers one won each, and the others heard of it", rounds, writers)
	return nil
}

// race returns how many of the writers of one name were told that they won.
func (p *prober) race(key string) (won int, err error) {
	var wg sync.WaitGroup
	errs := make([]error, writers)
	start := make(chan struct{})
	for i := range writers {
		wg.Go(func() {
			<-start
			errs[i] = p.st.Put(p.ctx, key, fmt.Appendf(nil, "writer %d", i))
		})
	}
	close(start)
	wg.Wait()
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, storage.ErrExists):
			return 0, err
		}
	}
	return won, nil
}
