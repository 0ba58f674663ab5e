package repo

import (
	"bytes"
	"context"
	"errors"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
)

// promises are what the repository has acknowledged.
type promises struct {
	must    map[Name]string   // streams that must restore, with their content as simContent takes it
	acked   map[Name]string   // streams that were acknowledged at any time
	tried   map[Name][]string // everything that anybody tried to store under a name
	gone    map[string]bool   // roots whose deletion was acknowledged and not taken back
	deletes map[string]int    // deletions that began, by root
}

func (p *promises) clone() promises {
	out := promises{must: map[Name]string{}, acked: map[Name]string{}, tried: map[Name][]string{}, gone: map[string]bool{}, deletes: map[string]int{}}
	for k, v := range p.must {
		out.must[k] = v
	}
	for k, v := range p.acked {
		out.acked[k] = v
	}
	for k, v := range p.tried {
		out.tried[k] = append([]string(nil), v...)
	}
	for k, v := range p.gone {
		out.gone[k] = v
	}
	for k, v := range p.deletes {
		out.deletes[k] = v
	}
	return out
}

// checkPromises restores everything that is visible, as somebody who comes now.
func (w *world) checkPromises(when string) {
	r := w.s.fresh(&direct{w}, broken{})
	ctx := w.t.Context()
	w.mu.Lock()
	p := w.clone()
	w.mu.Unlock()
	if w.s.indexed {
		w.checkIndexed(when)
	}
	for name, contents := range p.tried {
		var out bytes.Buffer
		err := r.Restore(ctx, name, &out, RestoreOptions{})
		must, promised := p.must[name]
		switch {
		case err == nil && p.gone[name.root()]:
			w.violate("%s: %s restores although its deletion was acknowledged", when, name)
		case err == nil && promised && !bytes.Equal(out.Bytes(), simContent(must)):
			w.violate("%s: %s restores as other bytes", when, name)
		case err == nil && !matches(out.Bytes(), contents):
			w.violate("%s: %s restores as bytes that nobody stored", when, name)
		case err != nil && w.s.visible && !errors.Is(err, ErrNoStream):
			w.violate("%s: %s is visible and does not restore: %v", when, name, err)
		case err != nil && promised:
			w.violate("%s: %s was acknowledged and does not restore: %v", when, name, err)
		case err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoStream) && !errors.Is(err, ErrDeleted):
			w.violate("%s: %s: neither content nor what is missing: %v", when, name, err)
		case err != nil && !beginsOne(out.Bytes(), contents):
			w.violate("%s: %s: wrong bytes went out before %v", when, name, err)
		}
	}
}

// checkIndexed looks for packs that fragments do not name any more.
func (w *world) checkIndexed(when string) {
	r := w.s.fresh(&direct{w}, broken{})
	named := map[digest.ID]bool{}
	for _, key := range w.keysUnder(indexPrefix) {
		for _, p := range w.fragment(r, key) {
			named[p.ID] = true
		}
	}
	for id := range w.named {
		if _, there := w.objects[packKey(id)]; there && !named[id] {
			w.violate("%s: no fragment names %s any more", when, w.label(packKey(id)))
		}
	}
}

// fragment reads what a fragment names.
func (w *world) fragment(r *Repo, key string) []index.Pack {
	id, err := digest.Parse(key[len(indexPrefix):])
	if err != nil {
		panic(err)
	}
	packs, err := r.loadFragment(context.Background(), id)
	if err != nil {
		panic(err)
	}
	return packs
}

func matches(got []byte, contents []string) bool {
	for _, c := range contents {
		if bytes.Equal(got, simContent(c)) {
			return true
		}
	}
	return false
}

func beginsOne(got []byte, contents []string) bool {
	for _, c := range contents {
		if bytes.HasPrefix(simContent(c), got) {
			return true
		}
	}
	return false
}
