package repo

import (
	"context"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// maxSeen bounds the chunks that a dry run remembers, so that none counts twice; beyond
// it what it says is too much.
const maxSeen = 8 << 20

// count adds to the report what storing a stream would bring.
func (c *transfer) count(ctx context.Context, name Name, m *manifest.Manifest) error {
	if !c.shared {
		// What of it is new shows only when it is cut.
		c.mu.Lock()
		defer c.mu.Unlock()
		c.report.Streams++
		c.report.Bytes += m.Length
		c.report.NewBytes += m.Length
		return nil
	}
	w := &writer{r: c.to, ctx: ctx, name: name, o: WriteOptions{Previous: c.previous(name)}, packs: newPackSet()}
	f, err := c.to.newFinder(ctx, w.openPrevious(ctx), w.packs)
	if err != nil {
		return err
	}
	defer f.close()
	n := &chunkCount{c: c, finder: f}
	if err := c.source.eachRows(ctx, m, n.table); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Streams++
	c.report.Bytes += m.Length
	c.report.Chunks += n.chunks
	c.report.NewChunks += n.newChunks
	c.report.NewBytes += n.newBytes
	c.report.StoredBytes += n.stored
	return nil
}

// chunkCount counts what one stream would bring.
type chunkCount struct {
	c                                   *transfer
	finder                              *finder
	offset                              int64 // in the stream
	chunks, newChunks, newBytes, stored uint64
}

func (n *chunkCount) table(t *manifest.Table) error {
	for i := range t.Rows {
		n.chunk(t, &t.Rows[i], n.offset)
		n.offset += int64(t.Rows[i].Raw)
		n.chunks++
	}
	return nil
}

func (n *chunkCount) chunk(t *manifest.Table, row *manifest.Chunk, offset int64) {
	if !n.c.firstSeen(row.ID) {
		return
	}
	if at, known := n.finder.find(row.ID, offset); known && at.raw == row.Raw {
		return
	}
	n.newChunks++
	n.newBytes += uint64(row.Raw)
	n.stored += uint64(row.Stored)
	if row.Base != 0 {
		n.chunk(t, &t.Bases[row.Base-1], -1)
	}
}

// firstSeen reports whether a chunk is seen for the first time.
func (c *transfer) firstSeen(id digest.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[id] {
		return false
	}
	if len(c.seen) < maxSeen {
		c.seen[id] = true
	}
	return true
}
