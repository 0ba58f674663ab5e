//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// small measures streams of 1 KB: what a process costs that has next to nothing to do. The peer is a shell that does the
// same with the same durability: a file, synced, linked to its name, the directory synced.
func (b *bench) small(ctx context.Context) error {
	progress("small streams: %d rounds", b.set.smallRounds)
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
	shell, err := b.fresh("shell")
	if err != nil {
		return err
	}
	// A repository that is in use: some data, a backup before.
	before := b.timestamp()
	if _, err := h.backUp(ctx, before, 1, &tableSource{bytes: 32 * mega}, false); err != nil {
		return err
	}
	if err := h.succeed(ctx, before); err != nil {
		return err
	}
	ts := b.timestamp()
	if err := h.setUp(ctx, ts); err != nil {
		return err
	}
	if err := waitOrphans(ctx); err != nil {
		return err
	}
	var ours, theirs, back, cat timings
	for i := range b.set.smallRounds + 1 {
		var text bytes.Buffer
		if _, err := tablegen.New(tablegen.Heap, uint64(1000+i), 10).WriteTo(&text); err != nil {
			return err
		}
		data := text.Bytes()[:1024]
		u, err := h.backUp(ctx, ts, 100+i, bytes.NewReader(data), false)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("cat >t%d; sync t%d; ln t%d f%d; sync .", i, i, i, i)
		v, err := b.run(ctx, command{args: []string{"sh", "-c", line}, dir: shell, in: bytes.NewReader(data)})
		if err != nil {
			return err
		}
		var out bytes.Buffer
		c := h.restoring(ts, 100+i)
		c.out = &out
		x, err := b.run(ctx, c)
		if err != nil {
			return err
		}
		if !bytes.Equal(out.Bytes(), data) {
			return fmt.Errorf("stream %d came back with other bytes", i)
		}
		y, err := b.run(ctx, command{args: []string{"sh", "-c", "cat " + filepath.Join(shell, fmt.Sprintf("f%d", i))}, out: new(bytes.Buffer)})
		if err != nil {
			return err
		}
		if i == 0 {
			continue // makes the directories, and warms the caches of both
		}
		ours.add(u)
		theirs.add(v)
		back.add(x)
		cat.add(y)
	}
	t := b.report.table("Small streams", "a shell",
		"One stream of 1 KB into a repository that holds a backup already, by backup_data with its YAML file and a key file. The shell\n"+
			"does `cat >t; sync t; ln t f; sync .` in the same file system, and `cat f` for the restore.")
	t.compare("backup_data of 1 KB, time", milliseconds, ours.wall, theirs.wall, atMost(2))
	t.compare("backup_data of 1 KB, processor time", milliseconds, ours.cpu, theirs.cpu, nil)
	t.compare("restore_data of 1 KB, time", milliseconds, back.wall, cat.wall, nil)
	t.compare("restore_data of 1 KB, processor time", milliseconds, back.cpu, cat.cpu, nil)
	return nil
}

// timings are the times of many runs, in seconds.
type timings struct{ wall, cpu sample }

func (t *timings) add(u usage) {
	t.wall = append(t.wall, u.wall.Seconds())
	t.cpu = append(t.cpu, u.cpu.Seconds())
}
