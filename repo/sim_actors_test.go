package repo

import (
	"bytes"
	"context"
	"errors"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

func simName(day string) Name { return backupName("202611"+day+"000000", "t") }

// mustWrite is write, where a failure without a fault is one of the program.
func (w *world) mustWrite(ctx context.Context, r *Repo, a *simActor, day, chunks string, previous ...string) error {
	err := w.write(ctx, r, a, day, chunks, previous...)
	if err != nil && !a.crashed && !errors.Is(err, errSimFault) && !errors.Is(err, ErrDeleted) {
		w.violate("%s could not be stored: %v", simName(day), err)
	}
	return err
}

// write stores a stream under the day, with the days before as predictors, and
// notes what it was promised.
func (w *world) write(ctx context.Context, r *Repo, a *simActor, day, chunks string, previous ...string) error {
	name := simName(day)
	w.mu.Lock()
	w.tried[name] = append(w.tried[name], chunks)
	deletes := w.deletes[name.root()]
	w.mu.Unlock()
	var o WriteOptions
	for _, p := range previous {
		o.Previous = append(o.Previous, simName(p))
	}
	_, err := r.Write(ctx, name, bytes.NewReader(simContent(chunks)), o)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && (a == nil || !a.crashed) {
		if w.putWhileGone[name] && w.gone[name.root()] {
			w.violate("%s was acknowledged although it was deleted before its manifest came", name)
		}
		w.acked[name] = chunks
		if w.deletes[name.root()] == deletes && !w.gone[name.root()] {
			w.must[name] = chunks
		}
	}
	return err
}

// remove deletes the day's backup.
func (w *world) remove(ctx context.Context, r *Repo, a *simActor, day string) error {
	root := simName(day).root()
	w.mu.Lock()
	w.deletes[root]++
	for name := range w.must {
		if name.root() == root {
			delete(w.must, name)
		}
	}
	w.mu.Unlock()
	err := r.Delete(ctx, simName(day))
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && (a == nil || !a.crashed) {
		w.gone[root] = true
	}
	return err
}

// undelete takes the deletion of the day's backup back.
func (w *world) undelete(ctx context.Context, r *Repo, a *simActor, day string) error {
	root := simName(day).root()
	w.mu.Lock()
	was := w.gone[root]
	delete(w.gone, root)
	deletes := w.deletes[root]
	w.mu.Unlock()
	err := r.Undelete(ctx, simName(day))
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case a != nil && a.crashed:
	case err == nil && w.deletes[root] == deletes:
		for name, chunks := range w.acked {
			if name.root() == root {
				w.must[name] = chunks
			}
		}
	case errors.Is(err, errSimFault): // it may say too late, and not have got the tombstone back
	case errors.Is(err, ErrTooLate) || errors.Is(err, ErrNotDeleted):
		w.gone[root] = was
	}
	return err
}

func (s *setup) write(day, chunks string, previous ...string) {
	s.t.Helper()
	if err := s.w.write(s.t.Context(), s.r, nil, day, chunks, previous...); err != nil {
		s.t.Fatal(err)
	}
}

// writeBlind stores a stream as a host does that knows no index: every chunk anew.
func (s *setup) writeBlind(day, chunks string, previous ...string) {
	s.t.Helper()
	if err := s.w.write(s.t.Context(), s.w.s.fresh(&blind{direct{s.w}}, broken{}), nil, day, chunks, previous...); err != nil {
		s.t.Fatal(err)
	}
}

// writeWhole stores a stream without deltas.
func (s *setup) writeWhole(day, chunks string) {
	s.t.Helper()
	r := s.w.s.fresh(&direct{s.w}, broken{})
	r.opts.Delta = DeltaOff
	if err := s.w.write(s.t.Context(), r, nil, day, chunks); err != nil {
		s.t.Fatal(err)
	}
}

// dropPackOnly deletes a pack.
func (s *setup) dropPackOnly(label string) {
	s.t.Helper()
	if err := s.w.delete(packKey(s.pack(label))); err != nil {
		s.t.Fatal(err)
	}
}

// dropPack deletes a pack, and the fragment of the same number, as a collector does.
func (s *setup) dropPack(label string) {
	s.t.Helper()
	s.dropPackOnly(label)
	for key, l := range s.w.labels {
		if l == "index/F"+label[1:] {
			if err := s.w.delete(key); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

type blind struct{ direct }

func (b *blind) List(ctx context.Context, prefix string, fn func(storage.Info) error) error {
	if prefix == indexPrefix {
		return nil
	}
	return b.direct.List(ctx, prefix, fn)
}

// condemn puts a condemned list that names the packs, by their labels, and roots.
func (s *setup) condemn(days []string, packs ...string) {
	s.t.Helper()
	var l gcList
	for _, p := range packs {
		l.ids = append(l.ids, s.pack(p))
	}
	for _, d := range days {
		l.roots = append(l.roots, simName(d).root())
	}
	if _, err := putCondemned(s.t.Context(), s.r, &l); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setup) pack(label string) digest.ID { return s.w.pack(label) }

// pack returns the pack of that label.
func (w *world) pack(label string) digest.ID {
	for key, l := range w.labels {
		if l == "packs/"+label {
			id, err := digest.Parse(key[len(packPrefix)+3:])
			if err != nil {
				panic(err)
			}
			return id
		}
	}
	panic("no pack " + label)
}

func putCondemned(ctx context.Context, r *Repo, l *gcList) (string, error) {
	id := newID()
	key := condemnedPrefix + id.String()[:32]
	object, err := r.keys.SealDocument(seal.Condemned, key, l.marshal(), nil)
	if err != nil {
		return "", err
	}
	return key, r.st.Put(ctx, key, object)
}

func (s *setup) remove(day string) {
	s.t.Helper()
	if err := s.w.remove(s.t.Context(), s.r, nil, day); err != nil {
		s.t.Fatal(err)
	}
}

// drop deletes what lies below the prefixes, as a collector that did its work did.
func (s *setup) drop(prefixes ...string) {
	for _, p := range prefixes {
		for _, key := range s.w.keysUnder(p) {
			if err := s.w.delete(key); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// writes, deletes and undeletes make actors.
func writes(name, day, chunks string, previous ...string) actorSpec {
	return actorSpec{name, func(a *simActor, ctx context.Context, r *Repo) error {
		return a.w.write(ctx, r, a, day, chunks, previous...)
	}}
}

// writesSurely is writes in a world in which nothing is in the way of success.
func writesSurely(name, day, chunks string, previous ...string) actorSpec {
	return actorSpec{name, func(a *simActor, ctx context.Context, r *Repo) error {
		return a.w.mustWrite(ctx, r, a, day, chunks, previous...)
	}}
}

func deletes(name, day string) actorSpec {
	return actorSpec{name, func(a *simActor, ctx context.Context, r *Repo) error {
		return a.w.remove(ctx, r, a, day)
	}}
}

func undeletes(name, day string) actorSpec {
	return actorSpec{name, func(a *simActor, ctx context.Context, r *Repo) error {
		return a.w.undelete(ctx, r, a, day)
	}}
}
