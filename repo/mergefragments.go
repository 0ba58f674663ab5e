package repo

import (
	"context"
	"fmt"
	"slices"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/storage"
)

// smallFragments is from how many small fragments on it pays to merge them.
const smallFragments = 8

// mergeFragments makes few fragments of many small ones, and drops what fragments say of
// packs that are gone. Packs are listed after the inputs were read: a pack that is in no
// listing by then is never put back into the index. Packs that are condemned, but still
// there, stay: for readers they count.
func (c *collector) mergeFragments(ctx context.Context) error {
	var small, stale []string
	entries := make(map[string]int)
	for _, info := range c.listed {
		key := fragmentKey(info.ID)
		f := c.fragments[key]
		if f.bad != nil {
			continue
		}
		entries[key] = f.entries
		switch {
		case slices.ContainsFunc(f.packs, func(n int) bool { p := &c.cat.Packs[n]; return !p.First || !p.Last }):
			stale = append(stale, key)
		case f.entries < c.r.opts.Limits.FragmentEntries/2:
			small = append(small, key)
		}
	}
	if len(small) < smallFragments && len(stale) == 0 || len(small) == 1 && len(stale) == 0 {
		return nil
	}
	if len(small) < smallFragments && len(small)+len(stale) < smallFragments {
		small = nil
	}
	inputs := append(stale, small...)
	slices.Sort(inputs)
	// The inputs were read in the survey, and what they say never changes; so one listing
	// now comes after all of them.
	there := make(map[digest.ID]bool)
	err := c.r.listPacks(ctx, func(id digest.ID, _ storage.Info) error {
		there[id] = true
		return nil
	})
	if err != nil {
		return err
	}
	if c.r.broken.mergePacksFirst {
		for i := range c.cat.Packs {
			if p := &c.cat.Packs[i]; p.First {
				there[p.ID] = true
			}
		}
	}
	m := &merge{c: c, there: there, done: make(map[digest.ID]bool), limit: c.r.opts.Limits.FragmentEntries}
	for _, key := range inputs {
		if c.expired() {
			break
		}
		if err := m.add(ctx, key); err != nil {
			return fmt.Errorf("merge fragments: %w", err)
		}
	}
	if err := m.flush(ctx); err != nil {
		return fmt.Errorf("merge fragments: %w", err)
	}
	return nil
}

// merge collects the packs of fragments for new ones.
type merge struct {
	c       *collector
	there   map[digest.ID]bool
	done    map[digest.ID]bool // packs that a new fragment names
	limit   int
	packs   []index.Pack
	entries int
	inputs  []string // whose packs are all in packs, or in new fragments
}

func (m *merge) add(ctx context.Context, key string) error {
	id, err := digest.Parse(key[len(indexPrefix):])
	if err != nil {
		return err
	}
	packs, err := m.c.r.loadFragment(ctx, id)
	if isNotExist(err) {
		return nil // another collector has merged it
	}
	if err != nil {
		return err
	}
	for i := range packs {
		p := &packs[i]
		if !m.there[p.ID] || m.done[p.ID] || m.c.r.broken.mergeDropCondemned && m.c.last.packs[p.ID] {
			continue
		}
		// A pack is named whole or not at all.
		if m.entries > 0 && m.entries+len(p.Entries) > m.limit {
			if err := m.put(ctx); err != nil {
				return err
			}
		}
		m.done[p.ID] = true
		m.packs = append(m.packs, *p)
		m.entries += len(p.Entries)
	}
	m.inputs = append(m.inputs, key)
	if m.entries >= m.limit {
		return m.flush(ctx)
	}
	return nil
}

func (m *merge) put(ctx context.Context) error {
	if len(m.packs) == 0 {
		return nil
	}
	if _, err := m.c.r.putFragment(ctx, m.packs); err != nil {
		return err
	}
	m.packs, m.entries = nil, 0
	return nil
}

// flush puts what is collected, and only then removes what it came from.
func (m *merge) flush(ctx context.Context) error {
	put := m.put
	if m.c.r.broken.mergePutLast {
		defer func() { _ = m.put(ctx) }()
		put = func(context.Context) error { return nil }
	}
	if err := put(ctx); err != nil {
		return err
	}
	for _, key := range m.inputs {
		if err := m.c.r.st.Delete(ctx, key); err != nil {
			return err
		}
		m.c.report.MergedFragments++
	}
	m.inputs = nil
	return nil
}
