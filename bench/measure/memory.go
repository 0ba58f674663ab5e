//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
)

// stream is one whose backup and restore are watched.
type stream struct {
	what  string
	bytes int64
	open  func() io.Reader
	goal  *goal // MiB
	runs  int
	index bool // into the repository whose index is large
	again bool // once more, unchanged
}

// memory measures how much memory the processes take whose number, beside a database, is that of its segments and jobs.
func (b *bench) memory(ctx context.Context) error {
	t := b.report.memoryTable("Memory",
		fmt.Sprintf("Peak of RssAnon in /proc/PID/status, polled every 5 ms (every 1 ms in a process's first second), and beside it of\n"+
			"RssFile, the mapped pages of files: the program itself and the index, which the kernel takes back when it needs them.\n"+
			"Streams come through a pipe; of a long one each table has a seed of its own, so that nothing repeats. The large index has\n"+
			"%s chunks in %s fragments, in the host's cache, written by the program's own code; the fragments' objects are there\n"+
			"to be listed but hold nothing, because a process that has them in its cache does not read them.",
			count(b.set.indexChunks), count(fragmentsFor(b.set.indexChunks))))
	text := func(n int64, seed uint64) func() io.Reader {
		return func() io.Reader { return &tableSource{bytes: n, seed: seed} }
	}
	loud, indexed := min(2*giga, 2*b.set.bigBytes), min(giga, b.set.bigBytes)
	for _, s := range []stream{
		{what: "table text", bytes: mega, open: text(mega, 1), goal: atMost(40), runs: b.set.rounds},
		{what: "table text", bytes: b.set.bigBytes, open: text(b.set.bigBytes, 2), goal: atMost(128), runs: 1, again: true},
		{what: "incompressible", bytes: loud, open: func() io.Reader { return noise(loud) }, goal: atMost(128), runs: 1},
		{what: "table text, large index", bytes: mega, open: text(mega, 3), goal: atMost(40), runs: b.set.rounds, index: true},
		{what: "table text, large index", bytes: indexed, open: text(indexed, 4), goal: atMost(128), runs: 1, index: true, again: true},
	} {
		if err := b.watchStream(ctx, t, s); err != nil {
			return err
		}
	}
	return nil
}

// watchStream backs a stream up and restores it, into a repository of its own each time.
func (b *bench) watchStream(ctx context.Context, t *memoryTable, s stream) error {
	progress("memory: %s of %s", formatBytes(s.bytes), s.what)
	var backup, again, restore footprint
	for range s.runs {
		if err := b.watchOnce(ctx, s, &backup, &again, &restore); err != nil {
			return err
		}
	}
	name := formatBytes(s.bytes) + " of " + s.what
	t.add("backup_data, "+name, backup, s.goal)
	if s.again {
		t.add("backup_data, the same again", again, s.goal)
	}
	t.add("restore_data, "+name, restore, s.goal)
	return nil
}

func (b *bench) watchOnce(ctx context.Context, s stream, backup, again, restore *footprint) error {
	r, err := b.newRepository(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	h, err := r.host()
	if err != nil {
		return err
	}
	defer h.Close()
	if s.index {
		if err := b.largeIndex(ctx, h); err != nil {
			return err
		}
	}
	ts := b.timestamp()
	in := s.open()
	u, err := h.backUp(ctx, ts, 1, in, true)
	if err != nil {
		return err
	}
	backup.add(u)
	if text, ok := in.(*tableSource); ok && s.bytes > 100*mega {
		progress("  %s at %.0f MB/s; %.0f %% of the time went by waiting for the generator", formatBytes(s.bytes),
			float64(s.bytes)/mega/u.wall.Seconds(), 100*text.waited.Seconds()/u.wall.Seconds())
	}
	if s.again {
		if u, err = h.backUp(ctx, b.timestamp(), 1, s.open(), true); err != nil {
			return err
		}
		again.add(u)
	}
	var out counter
	c := h.restoring(ts, 1)
	c.out, c.watch = &out, true
	if u, err = b.run(ctx, c); err != nil {
		return err
	}
	restore.add(u)
	if out.n != s.bytes {
		return fmt.Errorf("%d bytes of %d came back", out.n, s.bytes)
	}
	return os.RemoveAll(r.dir)
}

// footprint is the memory of some processes, in MiB.
type footprint struct{ anon, file sample }

func (f *footprint) add(u usage) {
	f.anon = append(f.anon, float64(u.anon)/(1<<20))
	f.file = append(f.file, float64(u.file)/(1<<20))
}
