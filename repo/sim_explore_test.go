package repo

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A schedule says where a run departs from the default, which is to let the actor
// go on that went last, and, when it has ended, the first that has not.
type schedule []departure

type departure struct {
	step int
	pick
}

func (s schedule) String() string {
	var parts []string
	for _, d := range s {
		p := fmt.Sprintf("%d:%d", d.step, d.actor)
		if d.op != 0 {
			p += fmt.Sprintf(".%d", d.op)
		}
		if d.fault != noFault {
			p += "!" + d.fault.String()
		}
		parts = append(parts, p)
	}
	return strings.Join(parts, " ")
}

// follow is the chooser that obeys a schedule. prune, asked after the last
// departure, may end the run.
func (s schedule) follow(prune func(w *world, step, current int) bool) chooser {
	return func(w *world, step, current int, ready map[int][]*simOp) (pick, bool) {
		for _, d := range s {
			if d.step == step && len(ready[d.actor]) > 0 {
				return d.pick, false
			}
		}
		if prune != nil && (len(s) == 0 || step > s[len(s)-1].step) && prune(w, step, current) {
			return pick{}, true
		}
		return byDefault(current, ready), false
	}
}

func byDefault(current int, ready map[int][]*simOp) pick {
	if len(ready[current]) > 0 {
		return pick{actor: current}
	}
	return pick{actor: slices.Min(slices.Collect(maps.Keys(ready)))}
}

// bounds are how much may happen in the runs that are explored exhaustively.
type bounds struct {
	preemptions int  // how often an actor is left that could go on
	faults      int  // operations that fail, acknowledgements lost, deaths
	runs        int  // at most; 0: no limit
	everyState  bool // also what leads to where another run has been
}

// explored is what an exploration came to.
type explored struct {
	runs, steps, pruned int
	complete            bool // within the bounds
	found, last         *outcome
	schedule            schedule
	seed                uint64
}

// exhaust tries every schedule within the bounds, those with the fewest departures
// first, so that the first that fails is the shortest. A state that was met before,
// with as much left to spend, is not gone through twice.
func (s *scenario) exhaust(t *testing.T, b broken, limit bounds) explored {
	type left struct{ preemptions, faults int8 }
	type job struct {
		schedule
		left
	}
	var x explored
	seen := map[uint64][]left{}
	met := func(state uint64, l left) bool {
		if limit.everyState {
			return false
		}
		for _, m := range seen[state] {
			if m.preemptions >= l.preemptions && m.faults >= l.faults {
				return true
			}
		}
		seen[state] = append(seen[state], l)
		return false
	}
	queues := make([][]job, limit.preemptions+limit.faults+1) // by what was spent
	queues[0] = []job{{nil, left{int8(limit.preemptions), int8(limit.faults)}}}
	for spent := 0; spent < len(queues); spent++ {
		for len(queues[spent]) > 0 {
			j := queues[spent][0]
			queues[spent] = queues[spent][1:]
			if limit.runs > 0 && x.runs >= limit.runs {
				return x
			}
			out := s.run(t, 0, b, j.follow(func(w *world, _, current int) bool { return met(w.state(current), j.left) }))
			x.runs++
			x.steps += len(out.steps)
			if out.pruned {
				x.pruned++
			}
			if out.violation != "" {
				x.found, x.schedule = out, j.schedule
				return x
			}
			first := 0
			if len(j.schedule) > 0 {
				first = j.schedule[len(j.schedule)-1].step + 1
			}
			for n := first; n < len(out.steps); n++ {
				step := &out.steps[n]
				add := func(p pick, preemptions, faults int8) {
					l := left{j.preemptions - preemptions, j.faults - faults}
					if l.preemptions < 0 || l.faults < 0 {
						return
					}
					cost := limit.preemptions + limit.faults - int(l.preemptions) - int(l.faults)
					queues[cost] = append(queues[cost], job{append(slices.Clip(j.schedule), departure{n, p}), l})
				}
				cost := int8(1)
				if step.forced {
					cost = 0
				}
				for _, a := range step.ready {
					if a != step.actor {
						add(pick{actor: a}, cost, 0)
					}
				}
				if j.faults > 0 {
					add(pick{actor: step.actor, fault: failBefore}, 0, 1)
					if step.write {
						add(pick{actor: step.actor, fault: ackLost}, 0, 1)
						add(pick{actor: step.actor, fault: crashThere}, 0, 1)
					}
				}
			}
		}
	}
	x.complete = true
	return x
}

// wander runs as many schedules as it is told, drawn from seeds.
func (s *scenario) wander(t *testing.T, b broken, from uint64, runs int, faults bool) explored {
	var x explored
	for seed := from; seed < from+uint64(runs); seed++ {
		var sched schedule
		out := s.run(t, seed, b, wandering(seed, faults, &sched))
		x.runs++
		x.steps += len(out.steps)
		if out.violation != "" {
			x.found, x.schedule, x.seed = out, sched, seed
			s.shrink(t, b, &x)
			return x
		}
	}
	x.complete = true
	return x
}

// wandering draws what happens next. Every other seed changes between actors at any
// step; the others let actors run one after another and interrupt a few of them once,
// for good or until all others have ended, which finds what takes few changes in the
// right places.
func wandering(seed uint64, faults bool, sched *schedule) chooser {
	rng := rand.New(rand.NewPCG(seed, 11))
	turn := changing(rng)
	if seed%2 == 0 {
		turn = ranked(rng)
	}
	return func(_ *world, step, current int, ready map[int][]*simOp) (pick, bool) {
		p := pick{actor: turn(step, current, ready)}
		p.op = rng.IntN(len(ready[p.actor]))
		if faults && rng.IntN(150) == 0 {
			p.fault = []faultKind{failBefore, ackLost, crashThere}[rng.IntN(3)]
			if o := ready[p.actor][p.op]; p.fault == ackLost && !o.writes() {
				p.fault = failBefore
			}
		}
		if p != byDefault(current, ready) {
			*sched = append(*sched, departure{step, p})
		}
		return p, false
	}
}

// changing lets an actor go on for a while, short or long, then another. Now and then
// one is left alone until all others have ended.
func changing(rng *rand.Rand) func(step, current int, ready map[int][]*simOp) int {
	mean := []int{2, 5, 12, 30}[rng.IntN(4)]
	stalled := map[int]bool{}
	return func(_, current int, ready map[int][]*simOp) int {
		if len(ready[current]) > 0 && rng.IntN(mean) > 0 {
			return current
		}
		var able []int
		for _, a := range slices.Sorted(maps.Keys(ready)) {
			if !stalled[a] {
				able = append(able, a)
			}
		}
		if len(able) == 0 {
			clear(stalled)
			able = slices.Sorted(maps.Keys(ready))
		}
		next := able[rng.IntN(len(able))]
		if len(ready) > 1 && rng.IntN(12) == 0 {
			stalled[next] = true
		}
		return next
	}
}

// ranked gives every actor a rank; the highest that can go on does. At a few steps the
// one whose turn it is falls to the lowest.
func ranked(rng *rand.Rand) func(step, current int, ready map[int][]*simOp) int {
	rank := map[int]int{}
	lowest := 0
	fall := map[int]bool{}
	within := []int{40, 100, 250}[rng.IntN(3)]
	for range 2 + rng.IntN(8) {
		fall[rng.IntN(within)] = true
	}
	return func(step, _ int, ready map[int][]*simOp) int {
		best := -1
		for _, a := range slices.Sorted(maps.Keys(ready)) {
			if rank[a] == 0 {
				rank[a] = 1 + rng.IntN(1<<20)
			}
			if best < 0 || rank[a] > rank[best] {
				best = a
			}
		}
		if fall[step] {
			lowest--
			rank[best] = lowest
		}
		return best
	}
}

// shrink leaves out departures as long as the run still fails.
func (s *scenario) shrink(t *testing.T, b broken, x *explored) {
	for again := true; again; {
		again = false
		for size := max(1, len(x.schedule)/2); size > 0; size /= 2 {
			for at := 0; at+size <= len(x.schedule); {
				less := slices.Concat(x.schedule[:at], x.schedule[at+size:])
				if out := s.run(t, x.seed, b, less.follow(nil)); out.violation != "" {
					x.found, x.schedule, again = out, less, true
				} else {
					at += size
				}
			}
		}
	}
}

// directive lets one actor go on until it is about to do the nth thing that begins
// so, as "put manifests/"; with an empty until, to its end.
type directive struct {
	actor int
	until string
	nth   int // 0 is the first
	fault faultKind
}

// direct obeys directives one after another, and then the default. reached counts
// those that came to where they say.
func directed(list []directive, reached *int) chooser {
	at, n := 0, 0
	return func(_ *world, _, current int, ready map[int][]*simOp) (pick, bool) {
		for at < len(list) {
			d := list[at]
			ops := ready[d.actor]
			if len(ops) == 0 {
				if d.until == "" {
					*reached++
				}
				at, n = at+1, 0
				continue
			}
			o := ops[0]
			if d.until != "" && strings.HasPrefix(o.op+" "+o.key, d.until) {
				if n == d.nth {
					*reached++
					at, n = at+1, 0
					if d.fault != noFault {
						return pick{actor: d.actor, fault: d.fault}, false
					}
					continue
				}
				n++
			}
			return pick{actor: d.actor}, false
		}
		return byDefault(current, ready), false
	}
}

// report fails the test with what was found.
func (x *explored) report(t *testing.T, s *scenario) {
	t.Helper()
	t.Errorf("%s: %s\n  seed %d, departures %s\n%s", s.name, x.found.violation, x.seed, x.schedule, x.found.trace())
	for _, name := range slices.SortedFunc(maps.Keys(x.found.errs), cmp.Compare[string]) {
		t.Logf("  %s ended with: %v", name, x.found.errs[name])
	}
}
