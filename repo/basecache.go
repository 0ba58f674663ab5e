package repo

import (
	"sync"

	"github.com/gpdedup/gpdedup/digest"
)

// baseCache holds the contents of bases that were read lately.
type baseCache struct {
	buffers *buffers
	loading sync.Mutex // held while a run of bases is read

	mu    sync.Mutex
	byID  map[digest.ID]*baseContent
	order []digest.ID // oldest first
	size  int
}

// baseContent is the content of one base. It is valid until released.
type baseContent struct {
	content []byte
	users   int // the cache itself counts as one
}

// baseCacheSize bounds the cache in bytes: a few runs of bases for each worker.
const baseCacheSize = 12 << 20

func newBaseCache(b *buffers) *baseCache {
	return &baseCache{buffers: b, byID: make(map[digest.ID]*baseContent)}
}

// get returns a base, for the caller to release, or nil.
func (c *baseCache) get(id digest.ID) *baseContent {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.byID[id]
	if b != nil {
		b.users++
	}
	return b
}

// has reports whether get would return the base now.
func (c *baseCache) has(id digest.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[id] != nil
}

// put adds a base, whose buffer is the cache's from then on.
func (c *baseCache) put(id digest.ID, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] != nil {
		c.buffers.put(content)
		return
	}
	for c.size+cap(content) > baseCacheSize && len(c.order) > 0 {
		oldest := c.byID[c.order[0]]
		delete(c.byID, c.order[0])
		c.order = c.order[1:]
		c.size -= cap(oldest.content)
		c.drop(oldest)
	}
	c.byID[id] = &baseContent{content: content, users: 1}
	c.order = append(c.order, id)
	c.size += cap(content)
}

func (c *baseCache) release(b *baseContent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(b)
}

// drop gives the buffer back when its last user is gone; c.mu is held.
func (c *baseCache) drop(b *baseContent) {
	if b.users--; b.users == 0 {
		c.buffers.put(b.content)
		b.content = nil
	}
}
