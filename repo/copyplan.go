package repo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// copyRoot is what is deleted together, and so copied together.
type copyRoot struct {
	name  Name // of any of its streams
	items []copyItem
}

type copyItem struct {
	name     Name
	bytes    int64              // of the manifest
	there    bool               // the target has a stream of that name
	manifest *manifest.Manifest // if it was kept
}

// describe names a stream with its class and namespace, as reports do.
func describe(n Name) string { return string(n.Class) + "/" + n.Namespace + "/" + n.String() }

// describeRoot names what is deleted together.
func describeRoot(n Name) string {
	if n.Class == Backup {
		return string(n.Class) + "/" + n.Namespace + "/" + n.Group
	}
	return describe(n)
}

// plan lists both repositories and returns what is to be copied, the oldest of each
// class first.
func (c *transfer) plan(ctx context.Context) ([]*copyRoot, error) {
	items, err := c.chosen(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.listTarget(ctx, items); err != nil {
		return nil, err
	}
	var roots []*copyRoot
	at := make(map[string]*copyRoot)
	for _, item := range items {
		if !item.Complete() {
			continue // attempts that broke off
		}
		if !slices.Contains([]Class{Backup, Named, Base}, item.Name.Class) {
			c.problem(describe(item.Name), ErrNewer)
			continue
		}
		key := item.Name.root()
		root := at[key]
		if root == nil {
			root = &copyRoot{name: item.Name}
			at[key] = root
			roots = append(roots, root)
		}
		root.items = append(root.items, copyItem{name: item.Name, bytes: item.Bytes, there: c.there[item.Name]})
	}
	if roots, err = c.withoutDeleted(ctx, roots); err != nil {
		return nil, err
	}
	slices.SortStableFunc(roots, func(a, b *copyRoot) int {
		return cmp.Or(cmp.Compare(a.name.Class, b.name.Class), cmp.Compare(a.age(), b.age()), cmp.Compare(a.name.root(), b.name.root()))
	})
	return roots, c.measure(ctx, roots)
}

// age is the part of a root's name that ascends with time.
func (r *copyRoot) age() string {
	if r.name.Class == Backup {
		return r.name.Group
	}
	return r.name.Item
}

// chosen lists what of the source the options choose.
func (c *transfer) chosen(ctx context.Context) ([]Item, error) {
	if len(c.o.Timestamps) == 0 {
		items, err := c.from.AllItems(ctx)
		if err != nil || len(c.o.Namespaces) == 0 {
			return items, err
		}
		found := make(map[string]bool)
		items = slices.DeleteFunc(items, func(i Item) bool {
			found[i.Name.Namespace] = true
			return !slices.Contains(c.o.Namespaces, i.Name.Namespace)
		})
		for _, ns := range c.o.Namespaces {
			wal, err := c.from.st.Children(ctx, walPrefix+escape(ns)+"/")
			if err != nil {
				return nil, err
			}
			if !found[ns] && len(wal) == 0 {
				return nil, fmt.Errorf("namespace %s: %w", ns, ErrNoStream)
			}
		}
		return items, nil
	}
	namespaces := c.o.Namespaces
	if len(namespaces) == 0 {
		var err error
		if namespaces, err = c.from.Namespaces(ctx, Backup); err != nil {
			return nil, err
		}
	}
	var all []Item
	for _, ts := range slices.Compact(slices.Sorted(slices.Values(c.o.Timestamps))) {
		some := false
		for _, ns := range namespaces {
			items, err := c.from.Items(ctx, Backup, ns, ts)
			if err != nil {
				return nil, err
			}
			some = some || slices.ContainsFunc(items, Item.Complete)
			all = append(all, items...)
		}
		if !some {
			c.problem(string(Backup)+"/"+strings.Join(namespaces, ",")+"/"+ts, fmt.Errorf("%w %s", ErrNoStream, c.from.st.Location()))
		}
	}
	return all, nil
}

// listTarget notes what the target holds of the namespaces and classes concerned.
func (c *transfer) listTarget(ctx context.Context, items []Item) error {
	listed := make(map[string]bool)
	for _, item := range items {
		n := item.Name
		prefix := manifestPrefix + string(n.Class) + "/" + escape(n.Namespace) + "/"
		if listed[prefix] {
			continue
		}
		listed[prefix] = true
		held, err := c.to.items(ctx, prefix)
		if err != nil {
			return err
		}
		for _, h := range held {
			if h.Complete() {
				c.there[h.Name] = true
				c.repeats(h.Name)
			}
		}
	}
	return nil
}

// withoutDeleted leaves out what is deleted in the source, and what cannot be stored
// because it is deleted in the target.
func (c *transfer) withoutDeleted(ctx context.Context, roots []*copyRoot) ([]*copyRoot, error) {
	deletedIn := func(r *Repo) (map[string]bool, error) {
		deleted := make(map[string]bool)
		listed := make(map[string]bool)
		for _, root := range roots {
			n := root.name
			where := string(n.Class) + "/" + escape(n.Namespace)
			if listed[where] {
				continue
			}
			listed[where] = true
			groups, err := r.DeletedGroups(ctx, n.Class, n.Namespace)
			if err != nil {
				return nil, err
			}
			for group := range groups {
				deleted[where+"/"+group] = true
			}
		}
		return deleted, nil
	}
	source, err := deletedIn(c.from)
	if err != nil {
		return nil, err
	}
	target, err := deletedIn(c.to)
	if err != nil {
		return nil, err
	}
	var kept []*copyRoot
	for _, root := range roots {
		n := root.name
		key := string(n.Class) + "/" + escape(n.Namespace) + "/" + n.String()
		if n.Class == Backup {
			key = string(n.Class) + "/" + escape(n.Namespace) + "/" + n.Group
		}
		switch {
		case source[key]:
			c.skip(root)
		case target[key]:
			c.problem(describeRoot(n), WithHint(fmt.Errorf("%w in %s", ErrDeleted, c.to.st.Location()),
				"delete it in the source, too, or bring it back in the target (gpdedup backup undelete)"))
		default:
			kept = append(kept, root)
		}
	}
	return kept, nil
}

// skip leaves out what is deleted in the source. Whoever asked for it by name is told
// that it was not copied.
func (c *transfer) skip(root *copyRoot) {
	if len(c.o.Timestamps) > 0 {
		c.problem(describeRoot(root.name), fmt.Errorf("%w in %s", ErrDeleted, c.from.st.Location()))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Deleted = append(c.report.Deleted, describeRoot(root.name))
}

// planReaders is how many manifests are read at once.
const planReaders = 8

// measure asks how long the streams are that are to be copied.
func (c *transfer) measure(ctx context.Context, roots []*copyRoot) error {
	if c.o.Progress == nil {
		return nil
	}
	var mu sync.Mutex
	var kept int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(planReaders)
	for _, root := range roots {
		for i := range root.items {
			item := &root.items[i]
			if item.there {
				continue
			}
			g.Go(func() error {
				m, err := c.from.readManifest(ctx, item.name.Key())
				if err != nil {
					return ctx.Err() // what is wrong with it is said when it is its turn
				}
				mu.Lock()
				defer mu.Unlock()
				c.total += int64(m.Length)
				if item.bytes <= copyKeptEach && kept+item.bytes <= copyKept {
					kept += item.bytes
					item.manifest = m
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// seriesOf is what streams have in common that repeat one another from backup to backup.
func seriesOf(n Name) string {
	if n.Class == Backup {
		return string(n.Class) + "/" + n.Namespace + "/" + strings.ReplaceAll(n.Item, n.Group, "")
	}
	return string(n.Class) + "/" + n.Namespace + "/" + n.Group
}

func byAge(a, b Name) int {
	return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Item, b.Item))
}

// repeats notes that the target holds a stream, which later ones of its series repeat.
func (c *transfer) repeats(n Name) {
	key := seriesOf(n)
	at, known := slices.BinarySearchFunc(c.series[key], n, byAge)
	if !known {
		c.series[key] = slices.Insert(c.series[key], at, n)
	}
}

// maxCopyPrevious is how many streams are guessed to be like one.
const maxCopyPrevious = 3

// previous names the streams of the target that the stream probably repeats: those
// before it in its series, the newest first.
func (c *transfer) previous(n Name) []Name {
	series := c.series[seriesOf(n)]
	at, _ := slices.BinarySearchFunc(series, n, byAge)
	before := slices.Clone(series[max(0, at-maxCopyPrevious):at])
	slices.Reverse(before)
	return before
}

// lookList collects streams that were there, for one look at all of them.
type lookList struct {
	mu      sync.Mutex
	streams []lookItem
}

type lookItem struct {
	name  Name
	packs []digest.ID
}

// compare reports whether the target's stream of that name is the same as m, and if so
// puts it on the list. Where that cannot be told without reading the stream, it is not.
func (c *transfer) compare(ctx context.Context, name Name, m *manifest.Manifest, l *lookList) (same bool, err error) {
	held, err := c.to.readManifest(ctx, name.Key())
	if isNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compare with %s: %w", c.to.st.Location(), err)
	}
	same = held.Length == m.Length && held.Wrapping == m.Wrapping && held.Tail == m.Tail
	switch {
	case same && c.shared:
		same = held.Identity == m.Identity
	case same:
		if held.Source == nil || *held.Source != *c.sourceOf(m) {
			return false, nil
		}
	}
	if !same {
		return false, &ConflictError{Name: name, Stored: held.Origin, Incoming: m.Origin}
	}
	packs, err := c.to.packsOf(ctx, held)
	if err != nil {
		return false, fmt.Errorf("compare with %s: %w", c.to.st.Location(), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams = append(l.streams, lookItem{name, packs})
	return true, nil
}

// lookAtAll takes the look that makes a success of "stored already", for the streams of
// one root together: their manifests were read before it, so all are visible, which is
// what the look must come after.
func (c *transfer) lookAtAll(ctx context.Context, l *lookList) error {
	if len(l.streams) == 0 {
		return nil
	}
	gc, err := c.to.lookGC(ctx)
	if err != nil {
		return err
	}
	var packs []digest.ID
	seen := make(map[digest.ID]bool)
	for _, s := range l.streams {
		for _, id := range s.packs {
			if !seen[id] {
				seen[id] = true
				packs = append(packs, id)
			}
		}
	}
	bad, err := c.to.unsafePacks(ctx, gc, packs)
	if err != nil {
		return err
	}
	for _, s := range l.streams {
		if err := c.keepBack(ctx, s.name, c.lookAt(ctx, gc, s, bad)); err != nil {
			return err
		}
	}
	return nil
}

// lookAt settles one of the streams that were there.
func (c *transfer) lookAt(ctx context.Context, gc *gcState, s lookItem, bad map[digest.ID]bool) error {
	if gc.tombstones[s.name.root()] || gc.roots[s.name.root()] {
		return ErrDeleted
	}
	unsafe := func(id digest.ID) bool { _, is := bad[id]; return is }
	if !c.o.DryRun && slices.ContainsFunc(s.packs, unsafe) {
		m, err := c.to.readManifest(ctx, s.name.Key())
		if err != nil {
			return err
		}
		// By itself, as a writer does it.
		if err := c.to.look(ctx, s.name, m, s.packs); err != nil {
			return fmt.Errorf("in %s: %w", c.to.st.Location(), err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Already++
	return nil
}
