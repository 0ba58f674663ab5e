package repo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// A scenario is a repository to begin with, and who then does what to it.
type scenario struct {
	name   string
	setup  func(s *setup)
	actors []actorSpec
	// limits, if set, changes simLimits.
	limits func(*Limits)
	// pagedLists makes listings take two steps, so that they are of no one moment.
	pagedLists bool
	// visible makes every stream that is visible one that restores: nothing is
	// removed in this scenario.
	visible bool
	// indexed makes every pack that a fragment ever named, and that is there, one that a
	// fragment names: without that a chunk is found again only by the pack's footer, so it
	// is stored twice.
	indexed bool
	// epilogue runs when all actors have ended, alone; then everything that was
	// promised is looked at once more.
	epilogue func(ctx context.Context, r *Repo) error

	once  sync.Once
	base  *simBase
	fresh func(st storage.Storage, b broken) *Repo
}

type actorSpec struct {
	name string
	act  func(a *simActor, ctx context.Context, r *Repo) error
}

// simBase is what setup left.
type simBase struct {
	store   *mem.Store
	promise promises
	labels  map[string]string
	counts  map[string]int
	named   map[digest.ID]bool
	took    time.Duration
}

// setup writes what is there before the actors begin.
type setup struct {
	t *testing.T
	w *world
	r *Repo
}

// simLimits make every stream of one chunk or more use packs, one for each chunk,
// and name them in a fragment.
var simLimits = Limits{Inline: 1, SmallPack: 1, PackMin: 1, PackMax: 1, ReadWindow: 1 << 16}

// simChunk is the length of every chunk: minimum and maximum are the same.
const simChunk = 512

// simContent is made of chunks: a capital letter stands for random bytes, the small
// letter for the same with a few bytes changed, so that it becomes a delta to it, and
// the capital letter + 0x80 for another such change.
func simContent(chunks string) []byte {
	var out []byte
	for _, c := range []byte(chunks) {
		seed := c &^ 0xa0
		rng := rand.New(rand.NewPCG(uint64(seed), 7))
		chunk := make([]byte, simChunk)
		for i := range chunk {
			chunk[i] = byte(rng.Uint32())
		}
		if c != seed {
			copy(chunk[100:], fmt.Sprint("changed ", c))
		}
		out = append(out, chunk...)
	}
	return out
}

// prepare makes the repository once and remembers how to open it.
func (s *scenario) prepare(t *testing.T) {
	s.once.Do(func() {
		st := mem.New()
		// The same keys each time, so that what a seed found is found again.
		cryptotest.SetGlobalRandom(t, 1)
		ring, err := seal.NewRing(&[32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Init(t.Context(), st, InitOptions{Now: time.Unix(1700000000, 0), ring: ring}); err != nil {
			t.Fatal(err)
		}
		template, err := Open(t.Context(), st, "write", Options{Limits: simLimits, Delta: DeltaOn, Concurrency: 1})
		if err != nil {
			t.Fatal(err)
		}
		config := *template.config
		config.Chunks = Chunks{Min: simChunk, Max: simChunk, Bits: 1}
		// Shared by all runs, and made outside of them: what a run makes dies with it. So
		// there is one encoder, for a second is made when it is needed.
		enc, err := compress.NewEncoder(compress.Fastest, 1)
		if err != nil {
			t.Fatal(err)
		}
		enc.EncodeDelta(nil, []byte("delta"))
		enc.Encode(nil, []byte("chunk"))
		dec, err := compress.NewDecoder(4)
		if err != nil {
			t.Fatal(err)
		}
		cache, err := index.OpenCache("", index.CacheOptions{FirstOffset: pack.FirstOffset})
		if err != nil {
			t.Fatal(err)
		}
		s.fresh = func(st storage.Storage, b broken) *Repo {
			opts := template.opts
			if s.limits != nil {
				s.limits(&opts.Limits)
			}
			return &Repo{
				st: st, config: &config, keys: template.keys, cache: cache, opts: opts, log: template.log,
				enc: enc, dec: dec, lists: map[string]*gcList{}, broken: b,
			}
		}
		synctest.Test(t, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 2)
			began := time.Now()
			w := newWorld(t, s)
			w.load(st)
			w.store.SetClock(time.Now)
			su := &setup{t: t, w: w, r: s.fresh(&direct{w}, broken{})}
			if s.setup != nil {
				s.setup(su)
			}
			s.base = &simBase{store: w.store.Clone(), promise: w.clone(), labels: w.labels, counts: w.counts, named: w.named, took: time.Since(began)}
		})
	})
}

// world is one run.
type world struct {
	t          *testing.T
	s          *scenario
	store      *mem.Store
	changing   sync.Mutex        // of what is done without the scheduler
	objects    map[string]uint64 // key → hash of key and content
	sum        uint64            // of all of them
	degraded   bool              // something was deleted since the last check
	labels     map[string]string
	counts     map[string]int
	pagedLists bool
	seed       uint64

	mu       sync.Mutex
	actors   []*simActor
	arrivals int
	promises
	named        map[digest.ID]bool // packs that a fragment named at any time; if scenario.indexed
	putWhileGone map[Name]bool      // manifests that came when their deletion had been acknowledged
	violation    string
}

func newWorld(t *testing.T, s *scenario) *world {
	return &world{
		t: t, s: s, putWhileGone: map[Name]bool{}, named: map[digest.ID]bool{}, labels: map[string]string{}, counts: map[string]int{}, pagedLists: s.pagedLists,
		promises: promises{must: map[Name]string{}, tried: map[Name][]string{}, acked: map[Name]string{}, gone: map[string]bool{}, deletes: map[string]int{}},
	}
}

// seedStep makes everything random that the actor draws until its next operation a
// matter of the actor and its step alone, whatever others did before.
func (w *world) seedStep(a *simActor) {
	cryptotest.SetGlobalRandom(w.t, mix(w.seed+1)+uint64(a.number)<<32+uint64(a.steps))
}

// faultKind is what goes wrong with an operation.
type faultKind uint8

const (
	noFault    faultKind = iota
	failBefore           // an error, and no effect
	ackLost              // the effect, and an error
	crashThere           // the process dies before it
)

func (f faultKind) String() string {
	return [...]string{"", "fails", "acknowledgement lost", "process dies before"}[f]
}

// pick is what a chooser decides: which actor's operation happens next, and how.
type pick struct {
	actor int
	op    int // among the actor's, in their fixed order
	fault faultKind
}

// stepRecord is what happened.
type stepRecord struct {
	pick
	desc   string
	write  bool
	ready  []int // actors that had operations waiting
	forced bool  // the actor before had nothing waiting
	state  uint64
}

// outcome is what a run came to.
type outcome struct {
	steps     []stepRecord
	violation string
	pruned    bool // ended early: the state was seen before
	errs      map[string]error
}

func (o *outcome) trace() string {
	var b strings.Builder
	last := -1
	for i, s := range o.steps {
		if s.actor != last {
			fmt.Fprintf(&b, "    --\n")
			last = s.actor
		}
		fmt.Fprintf(&b, "    %3d  %s", i, s.desc)
		if s.fault != noFault {
			fmt.Fprintf(&b, "   [%s]", s.fault)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// chooser decides what happens next. current is the actor of the last step, -1 at
// first; ready has an entry for every actor that waits. stop ends the run.
type chooser func(w *world, step, current int, ready map[int][]*simOp) (p pick, stop bool)

// run runs the scenario once.
func (s *scenario) run(t *testing.T, seed uint64, b broken, choose chooser) *outcome {
	s.prepare(t)
	out := &outcome{errs: map[string]error{}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, s)
		w.seed = seed
		w.load(s.base.store)
		w.promises = s.base.promise.clone()
		for k, v := range s.base.labels {
			w.labels[k] = v
		}
		for k, v := range s.base.counts {
			w.counts[k] = v
		}
		for k := range s.base.named {
			w.named[k] = true
		}
		time.Sleep(s.base.took + 3*24*time.Hour) // what is there is old
		ctx := t.Context()
		for i, spec := range s.actors {
			a := &simActor{w: w, number: i, name: spec.name, broken: b}
			w.actors = append(w.actors, a)
			w.seedStep(a)
			go func() {
				err := spec.act(a, ctx, s.fresh(&simStore{a}, b))
				w.mu.Lock()
				a.ended, a.err = true, err
				w.mu.Unlock()
			}()
			synctest.Wait()
		}
		w.drive(choose, out)
		for _, a := range w.actors {
			w.kill(a)
		}
		for !w.allEnded() {
			time.Sleep(time.Minute) // whoever pauses before a second try
			synctest.Wait()
		}
		for _, a := range w.actors {
			out.errs[a.name] = a.err
		}
		if !out.pruned && w.violation == "" {
			w.checkPromises("at the end")
			if s.epilogue != nil && w.violation == "" {
				if err := s.epilogue(ctx, s.fresh(&direct{w}, broken{})); err != nil {
					w.violate("epilogue: %v", err)
				}
				w.checkPromises("after the epilogue")
			}
		}
		out.violation = w.violation
	})
	return out
}

func (w *world) allEnded() bool {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.actors {
		if !a.ended {
			return false
		}
	}
	return true
}

// maxSteps bounds a run: what takes longer goes round in circles.
const maxSteps = 5000

func (w *world) drive(choose chooser, out *outcome) {
	current := -1
	for step := 0; w.violation == ""; step++ {
		ready := w.ready()
		if len(ready) == 0 {
			if w.liveEnded() {
				return
			}
			time.Sleep(time.Second)
			continue
		}
		if step == maxSteps {
			w.violate("still running after %d steps", step)
			return
		}
		p, stop := choose(w, step, current, ready)
		if stop {
			out.pruned = true
			return
		}
		ops := ready[p.actor]
		o := ops[min(p.op, len(ops)-1)]
		rec := stepRecord{pick: p, write: o.writes(), desc: fmt.Sprintf("%-4s %-8s %s", o.actor.name, o.op, w.label(o.key))}
		for i := range w.actors {
			if len(ready[i]) > 0 {
				rec.ready = append(rec.ready, i)
			}
		}
		rec.forced = current < 0 || len(ready[current]) == 0
		if p.fault == crashThere {
			w.kill(o.actor)
		} else {
			w.perform(o, p.fault)
		}
		current = p.actor
		synctest.Wait()
		// A crash of everything at this point must leave what was promised. Only
		// what was deleted can have broken it.
		if w.degraded || w.s.visible && rec.write {
			w.degraded = false
			w.checkPromises("after step " + fmt.Sprint(step))
		}
		rec.state = w.state(current)
		out.steps = append(out.steps, rec)
	}
}

func (w *world) liveEnded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.actors {
		if !a.ended && !a.crashed {
			return false
		}
	}
	return true
}

func (w *world) violate(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
	}
}
