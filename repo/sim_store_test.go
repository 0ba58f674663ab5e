package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// The simulator. Actors run the real code, writers and collectors, over a storage
// that does nothing by itself: each operation waits until the scheduler picks it,
// and then happens at once, as a whole. Between two picks testing/synctest tells
// when every goroutine waits again. So a run is a sequence of picks; the same
// picks give the same run, to the byte: time is simulated, and randomness is drawn
// anew for each operation of each actor (see world.seedStep).

// simOp is an operation that an actor has asked for.
type simOp struct {
	actor   *simActor
	op, key string
	arrived int
	run     func() error // the effect; nil error also for "found nothing"
	result  func() uint64
	done    chan error
}

func (o *simOp) writes() bool { return o.op == "put" || o.op == "delete" }

func (o *simOp) compare(p *simOp) int {
	return cmp.Or(strings.Compare(o.op, p.op), strings.Compare(o.key, p.key), cmp.Compare(o.arrived, p.arrived))
}

// simActor is one process.
type simActor struct {
	w       *world
	number  int
	name    string
	crashed bool
	ended   bool
	err     error // what act returned
	steps   int
	history uint64 // hash of everything that the storage told the actor
	pending []*simOp
	broken  broken
}

var (
	errSimCrashed = errors.New("simulated: the process is dead")
	errSimFault   = errors.New("simulated: connection reset")
)

// simStore is an actor's way to the storage.
type simStore struct{ a *simActor }

var _ storage.Storage = (*simStore)(nil)

// wait asks for an operation and waits until it has happened.
func (s *simStore) wait(ctx context.Context, op, key string, run func() error, result func() uint64) error {
	if err := ctx.Err(); err != nil {
		return &storage.Error{Op: op, Key: key, Err: err}
	}
	w := s.a.w
	o := &simOp{actor: s.a, op: op, key: key, run: run, result: result, done: make(chan error, 1)}
	w.mu.Lock()
	if s.a.crashed {
		w.mu.Unlock()
		return &storage.Error{Op: op, Key: key, Err: errSimCrashed}
	}
	w.arrivals++
	o.arrived = w.arrivals
	s.a.pending = append(s.a.pending, o)
	w.mu.Unlock()
	var err error
	select {
	case err = <-o.done:
	case <-ctx.Done():
		w.mu.Lock()
		s.a.pending = slices.DeleteFunc(s.a.pending, func(p *simOp) bool { return p == o })
		w.mu.Unlock()
		err = ctx.Err()
	}
	var se *storage.Error
	if err != nil && !errors.As(err, &se) {
		err = &storage.Error{Op: op, Key: key, Err: err}
	}
	return err
}

func (s *simStore) Put(ctx context.Context, key string, data []byte) error {
	return s.wait(ctx, "put", key, func() error { return s.a.w.put(key, data) }, nil)
}

func (s *simStore) Delete(ctx context.Context, key string) error {
	return s.wait(ctx, "delete", key, func() error { return s.a.w.delete(key) }, nil)
}

func (s *simStore) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	return s.wait(ctx, "read", key, func() error { return s.a.w.store.Read(ctx, key, offset, dst) }, nil)
}

func (s *simStore) Get(ctx context.Context, key string, limit int64) (data []byte, err error) {
	err = s.wait(ctx, "get", key, func() (err error) {
		data, err = s.a.w.store.Get(ctx, key, limit)
		return err
	}, nil)
	return data, err
}

func (s *simStore) Stat(ctx context.Context, key string) (info storage.Info, err error) {
	err = s.wait(ctx, "stat", key, func() (err error) {
		info, err = s.a.w.store.Stat(ctx, key)
		return err
	}, nil)
	return info, err
}

// List is one step, or two if the world's listings are not atomic: then each name is
// shown as it was at one of the two, half of the names at the first.
func (s *simStore) List(ctx context.Context, prefix string, fn func(storage.Info) error) error {
	var infos []storage.Info
	pages := 1
	if s.a.w.pagedLists {
		pages = 2
	}
	for page := range pages {
		var part []storage.Info
		err := s.wait(ctx, "list", prefix, func() error {
			return s.a.w.store.List(ctx, prefix, func(info storage.Info) error {
				if pages == 1 || int(simHash(info.Key)%2) == page {
					part = append(part, info)
				}
				return nil
			})
		}, func() (sum uint64) {
			for _, info := range part {
				sum += simHash(info.Key)
			}
			return sum
		})
		if err != nil {
			return err
		}
		infos = append(infos, part...)
	}
	for _, info := range infos {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

func (s *simStore) Children(ctx context.Context, prefix string) (children []storage.Child, err error) {
	err = s.wait(ctx, "children", prefix, func() (err error) {
		children, err = s.a.w.store.Children(ctx, prefix)
		return err
	}, func() uint64 { return simHash(fmt.Sprint(children)) })
	return children, err
}

func (s *simStore) Location() string { return "simulation" }
func (s *simStore) Close() error     { return nil }

func simHash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return mix(h.Sum64())
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// put and delete keep the hash of all objects up to date.
func (w *world) put(key string, data []byte) error {
	_, err := w.store.Stat(context.Background(), key)
	if perr := w.store.Put(context.Background(), key, data); perr != nil {
		return perr
	}
	if err != nil {
		w.objects[key] = mix(simHash(key) ^ simHash(string(data))<<1)
		w.sum ^= w.objects[key]
		w.label(key)
		if w.s.indexed && strings.HasPrefix(key, indexPrefix) {
			for _, p := range w.fragment(w.s.fresh(&direct{w}, broken{}), key) {
				w.named[p.ID] = true
			}
		}
		if name, _, err := parseKey(key); err == nil {
			w.mu.Lock()
			w.putWhileGone[name] = w.gone[name.root()]
			w.mu.Unlock()
		}
	}
	return nil
}

func (w *world) delete(key string) error {
	if sum, ok := w.objects[key]; ok {
		w.sum ^= sum
		delete(w.objects, key)
		w.degraded = true
	}
	return w.store.Delete(context.Background(), key)
}

// label gives an object a short name for traces.
func (w *world) label(key string) string {
	if l, ok := w.labels[key]; ok {
		return l
	}
	kind, short := "", ""
	switch {
	case strings.HasPrefix(key, packPrefix):
		kind, short = packPrefix, "packs/P"
	case strings.HasPrefix(key, indexPrefix):
		kind, short = indexPrefix, "index/F"
	case strings.HasPrefix(key, condemnedPrefix):
		kind, short = condemnedPrefix, "gc/condemned/C"
	case strings.HasPrefix(key, lostPrefix):
		kind, short = lostPrefix, "gc/lost/L"
	}
	if short == "" || strings.HasSuffix(key, "/") {
		return key
	}
	w.counts[kind]++
	w.labels[key] = fmt.Sprint(short, w.counts[kind])
	return w.labels[key]
}

// load makes a copy of a store the world's.
func (w *world) load(from *mem.Store) {
	w.store = from.Clone()
	w.store.SetClock(time.Now)
	w.objects = map[string]uint64{}
	for _, key := range w.store.Keys() {
		data, err := w.store.Get(context.Background(), key, -1)
		if err != nil {
			panic(err)
		}
		w.objects[key] = mix(simHash(key) ^ simHash(string(data))<<1)
		w.sum ^= w.objects[key]
	}
}

// ready returns the operations that wait, by actor, each actor's in a fixed order.
func (w *world) ready() map[int][]*simOp {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[int][]*simOp{}
	for _, a := range w.actors {
		if len(a.pending) > 0 && !a.crashed {
			slices.SortFunc(a.pending, (*simOp).compare)
			out[a.number] = slices.Clone(a.pending)
		}
	}
	return out
}

// perform lets one operation happen, with the fault.
func (w *world) perform(o *simOp, f faultKind) {
	a := o.actor
	w.mu.Lock()
	a.pending = slices.DeleteFunc(a.pending, func(p *simOp) bool { return p == o })
	w.mu.Unlock()
	a.steps++
	w.seedStep(a)
	var err error
	if f == failBefore {
		err = errSimFault
	} else {
		err = o.run()
		if f == ackLost && err == nil {
			err = errSimFault
		}
	}
	told := uint64(f)
	switch {
	case err != nil && errors.Is(err, storage.ErrNotExist):
		told = 11
	case err != nil && errors.Is(err, storage.ErrExists):
		told = 12
	case err == nil && o.result != nil:
		told = mix(o.result() + 13)
	}
	a.history = mix(a.history*31 + simHash(o.op+" "+o.key) + told)
	o.done <- err
}

// state identifies where a run is: what is stored, what each actor was told, and
// whose turn it is.
func (w *world) state(current int) uint64 {
	h := w.sum
	for _, a := range w.actors {
		x := a.history
		if a.crashed {
			x++
		}
		h = mix(h*31 + x)
	}
	return mix(h*31 + uint64(current+1))
}

// kill ends an actor: nothing that it asks for from now on happens.
func (w *world) kill(a *simActor) {
	w.mu.Lock()
	a.crashed = true
	pending := a.pending
	a.pending = nil
	w.mu.Unlock()
	for _, o := range pending {
		o.done <- errSimCrashed
	}
}

// keysUnder returns the keys below a prefix.
func (w *world) keysUnder(prefix string) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(w.objects)) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// direct is a way to the world's storage that needs no scheduler.
type direct struct{ w *world }

// Put is called side by side for the packs of one stream.
func (d *direct) Put(_ context.Context, key string, data []byte) error {
	d.w.changing.Lock()
	defer d.w.changing.Unlock()
	return d.w.put(key, data)
}

func (d *direct) Delete(_ context.Context, key string) error {
	d.w.changing.Lock()
	defer d.w.changing.Unlock()
	return d.w.delete(key)
}

func (d *direct) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	return d.w.store.Read(ctx, key, offset, dst)
}

func (d *direct) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	return d.w.store.Get(ctx, key, limit)
}

func (d *direct) Stat(ctx context.Context, key string) (storage.Info, error) {
	return d.w.store.Stat(ctx, key)
}

func (d *direct) List(ctx context.Context, prefix string, fn func(storage.Info) error) error {
	return d.w.store.List(ctx, prefix, fn)
}

func (d *direct) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	return d.w.store.Children(ctx, prefix)
}
func (d *direct) Location() string { return "simulation" }
func (d *direct) Close() error     { return nil }
