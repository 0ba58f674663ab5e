package repo

import (
	"context"
	"slices"
	"sync"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/pack"
)

// directory is what a pack holds, for whoever reads chunks from it.
type directory struct {
	entries   []index.Entry
	locations []index.Location
	at        map[catalog.Key]int
}

// maxDirectories bounds the directories that a copier keeps; each has some hundred
// entries.
const maxDirectories = 64

// readDirectory reads what a pack holds.
func (c *collector) readDirectory(ctx context.Context, n int) (*directory, error) {
	if d := c.hinted[n]; d != nil {
		return d, nil
	}
	p := &c.cat.Packs[n]
	dir, err := c.r.readFooter(ctx, p.ID, p.Size)
	if err != nil && isUnusable(err) && !isNotExist(err) {
		dir, err = c.namedDirectory(ctx, n, err)
	}
	if err != nil {
		return nil, err
	}
	return newDirectory(&dir), nil
}

// namedDirectory takes what a pack holds from a fragment, because its footer cannot be read.
func (c *collector) namedDirectory(ctx context.Context, n int, cause error) (index.Pack, error) {
	for _, info := range c.listed {
		if !slices.Contains(c.fragments[fragmentKey(info.ID)].packs, n) {
			continue
		}
		packs, err := c.r.loadFragment(ctx, info.ID)
		if err != nil {
			continue // another may name it too
		}
		for i := range packs {
			if packs[i].ID == c.cat.Packs[n].ID {
				return packs[i], nil
			}
		}
	}
	return index.Pack{}, cause
}

// find returns which entry is the chunk's, with the given depth if it is there twice.
func (d *directory) find(id catalog.Key, depth uint8) (int, bool) {
	at, ok := d.at[id]
	if !ok || d.entries[at].Depth == depth {
		return at, ok
	}
	for i := range d.entries {
		if e := &d.entries[i]; e.Depth == depth && catalog.KeyOf(e.ID) == id {
			return i, true
		}
	}
	return 0, false
}

// locate finds all copies of chunks for the reader of a manifest whose hints are no good: the
// first may be what is damaged. Bases are asked for when a copy turns out to need one.
func (c *collector) locate(ctx context.Context, want map[digest.ID]bool) (locations, error) {
	found := make(locations)
	dirs := make(map[int]*directory)
	for id := range want {
		c.mark.Lock()
		copies := c.cat.Copies(catalog.KeyOf(id))
		c.mark.Unlock()
		for _, s := range copies {
			d := dirs[s.Pack]
			if d == nil {
				var err error
				if d, err = c.readDirectory(ctx, s.Pack); isUnusable(err) {
					continue
				} else if err != nil {
					return nil, err
				}
				dirs[s.Pack] = d
			}
			if at, ok := d.find(s.ID, s.Depth); ok && d.entries[at].ID == id {
				found[id] = append(found[id], d.locations[at])
			}
		}
	}
	return found, nil
}

// newDirectory arranges what a pack holds for whoever reads chunks from it.
func newDirectory(dir *index.Pack) *directory {
	d := &directory{entries: dir.Entries, at: make(map[catalog.Key]int, len(dir.Entries))}
	dir.Locations(pack.FirstOffset, func(id digest.ID, loc index.Location) {
		d.at[catalog.KeyOf(id)] = len(d.locations)
		d.locations = append(d.locations, loc)
	})
	return d
}

// directories keeps what the packs hold that were asked for last. It is safe for
// concurrent use.
type directories struct {
	read  func(ctx context.Context, n int) (*directory, error) // of pack number n
	limit int                                                  // how many are kept

	mu    sync.Mutex // guards the rest
	known map[int]*directory
	order []int // oldest first
}

func newDirectories(limit int, read func(context.Context, int) (*directory, error)) *directories {
	return &directories{read: read, limit: limit, known: make(map[int]*directory)}
}

func (d *directories) get(ctx context.Context, n int) (*directory, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dir := d.known[n]; dir != nil {
		return dir, nil
	}
	dir, err := d.read(ctx, n)
	if err != nil {
		return nil, err
	}
	if len(d.order) >= d.limit {
		delete(d.known, d.order[0])
		d.order = d.order[1:]
	}
	d.known[n], d.order = dir, append(d.order, n)
	return dir, nil
}
