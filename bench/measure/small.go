//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// Of the small tables: their length, how many of one program follow each other, and how many a peer gets, which takes a
// hundred times as long.
const (
	smallBytes = 10_240
	smallTurn  = 25
	peerTables = 5

	shellName = "a shell"
	storing   = "store"
	reading   = "restore"
)

// small measures many tables, each stored by a process of its own, one after the other, as backup_data with its YAML
// file. The shell does the same with the same durability: a file, synced, linked to its name, the directory synced.
func (b *bench) small(ctx context.Context) (*results.Topic, error) {
	t := b.newTopic(min(2, b.set.few())) // a thousand times two is a lot
	for round := range t.Rounds {
		progress("  round %d of %d", round+1, t.Rounds)
		if err := b.smallRound(ctx, t); err != nil {
			return nil, err
		}
		for _, p := range b.programs[1:] {
			if err := b.smallPeer(ctx, t, p); err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	return t, nil
}

// smallTables are different from each other, and all of one length.
func smallTables(n int) (tables [][]byte, err error) {
	for i := range n {
		var text bytes.Buffer
		if _, err := tablegen.New(tablegen.Heap, uint64(1000+i), 100).WriteTo(&text); err != nil {
			return nil, err
		}
		tables = append(tables, text.Bytes()[:smallBytes])
	}
	return tables, nil
}

func (b *bench) smallRound(ctx context.Context, t *results.Topic) (err error) {
	tables, err := smallTables(b.set.tables)
	if err != nil {
		return err
	}
	r, err := b.newRepository(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h, err := r.host()
	if err != nil {
		return err
	}
	shell, err := b.place.Fresh("shell")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(shell)) }()
	// A repository that is in use: a backup before, and what it takes for one of a few tables.
	before, ts := b.timestamp(), b.timestamp()
	if _, err := h.backUp(ctx, before, 1, contender.Input{From: bytes.NewReader(tables[0])}); err != nil {
		return err
	}
	if err := errors.Join(h.succeed(ctx, before), h.setUp(ctx, ts), b.place.WaitOrphans(ctx)); err != nil {
		return err
	}
	store := map[string]func(i int) (process.Usage, error){
		contender.Gpdedup: func(i int) (process.Usage, error) {
			return h.backUp(ctx, ts, 100+i, contender.Input{From: bytes.NewReader(tables[i])})
		},
		shellName: func(i int) (process.Usage, error) {
			line := fmt.Sprintf("cat >t%d; sync t%d; ln t%d f%d; sync .", i, i, i, i)
			return b.place.Run(ctx, process.Command{Args: []string{"sh", "-c", line}, Dir: shell, In: bytes.NewReader(tables[i])})
		},
	}
	read := map[string]func(i int) (process.Usage, error){
		contender.Gpdedup: func(i int) (process.Usage, error) {
			var out strings.Builder
			u, err := h.restore(ctx, ts, 100+i, &out)
			if err == nil && out.String() != string(tables[i]) {
				err = fmt.Errorf("table %d came back with other bytes", i)
			}
			return u, err
		},
		shellName: func(i int) (process.Usage, error) {
			return b.place.Run(ctx, process.Command{Args: []string{"sh", "-c", "cat " + filepath.Join(shell, fmt.Sprintf("f%d", i))}, Out: new(strings.Builder)})
		},
	}
	if err := b.byTurns(ctx, t, storing, store); err != nil {
		return err
	}
	return b.byTurns(ctx, t, reading, read)
}

// byTurns has gpdedup and the shell do it for all tables, some at a time.
func (b *bench) byTurns(ctx context.Context, t *results.Topic, phase string, do map[string]func(i int) (process.Usage, error)) error {
	sums := map[string]process.Usage{}
	for from := 0; from < b.set.tables; from += smallTurn {
		for _, name := range []string{contender.Gpdedup, shellName} {
			for i := from; i < min(from+smallTurn, b.set.tables); i++ {
				u, err := do[name](i)
				if err := errors.Join(err, ctx.Err()); err != nil {
					return err
				}
				sums[name] = sums[name].Add(u)
			}
		}
	}
	for name, sum := range sums {
		run := t.Run(name, phase)
		run.Streams = b.set.tables
		run.Add(sum, int64(b.set.tables)*smallBytes)
	}
	return nil
}

// smallPeer has a peer store a few of them.
func (b *bench) smallPeer(ctx context.Context, t *results.Topic, p *contender.Program) (err error) {
	n := min(peerTables, b.set.tables)
	tables, err := smallTables(n)
	if err != nil {
		return err
	}
	s, err := p.Open(ctx, b.place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var stored, read process.Usage
	for i, text := range tables {
		u, err := s.Put(ctx, fmt.Sprint(i), contender.Input{From: bytes.NewReader(text)})
		if err != nil {
			return err
		}
		stored = stored.Add(u)
	}
	for i, text := range tables {
		var out strings.Builder
		u, err := s.Get(ctx, fmt.Sprint(i), &out)
		if err == nil && out.String() != string(text) {
			err = fmt.Errorf("table %d came back with other bytes", i)
		}
		if err != nil {
			return err
		}
		read = read.Add(u)
	}
	for phase, sum := range map[string]process.Usage{storing: stored, reading: read} {
		run := t.Run(p.Name, phase)
		run.Streams = n
		run.Add(sum, int64(n)*smallBytes)
	}
	return nil
}
