//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// stream is one whose backup and restore are watched.
type stream struct {
	what  string
	bytes int64
	open  func() io.Reader
	runs  int
	index bool // into the repository whose index is large
	again bool // once more, unchanged
}

// name is how the report calls it.
func (s stream) name() string { return size.Format(s.bytes) + " of " + s.what }

// memory measures how much memory the processes take whose number, beside a database, is that of its segments and jobs.
func (b *bench) memory(ctx context.Context) (*results.Topic, error) {
	t := b.newTopic(b.set.few())
	t.Programs = t.Programs[:1]
	text := func(n int64, seed uint64) func() io.Reader {
		return func() io.Reader { return &tableSource{bytes: n, seed: seed} }
	}
	loud, indexed := min(2*size.Giga, 2*b.set.large), min(size.Giga, b.set.large)
	for _, s := range []stream{
		{what: "table text", bytes: size.Mega, open: text(size.Mega, 1), runs: t.Rounds},
		{what: "table text", bytes: b.set.large, open: text(b.set.large, 2), runs: 1, again: true},
		{what: "incompressible", bytes: loud, open: func() io.Reader { return noise(loud).reader() }, runs: 1},
		{what: "table text, large index", bytes: size.Mega, open: text(size.Mega, 3), runs: t.Rounds, index: true},
		{what: "table text, large index", bytes: indexed, open: text(indexed, 4), runs: 1, index: true, again: true},
	} {
		progress("  %s", s.name())
		for range s.runs {
			if err := b.watchOnce(ctx, s, t); err != nil {
				return nil, err
			}
		}
	}
	t.Notes = append(t.Notes, fmt.Sprintf("The large index has %s chunks in %d fragments.", count(b.set.indexChunks), fragmentsFor(b.set.indexChunks)))
	return t, nil
}

// watchOnce backs a stream up and restores it, in a repository of its own. The program of a run is the stream.
func (b *bench) watchOnce(ctx context.Context, s stream, t *results.Topic) (err error) {
	r, err := b.newRepository(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h, err := r.host()
	if err != nil {
		return err
	}
	if s.index {
		if err := b.largeIndex(ctx, h); err != nil {
			return err
		}
	}
	ts := b.timestamp()
	u, err := h.backUp(ctx, ts, 1, contender.Input{From: s.open()})
	if err != nil {
		return err
	}
	t.Run(s.name(), first).Add(u, s.bytes)
	if s.again {
		if u, err = h.backUp(ctx, b.timestamp(), 1, contender.Input{From: s.open()}); err != nil {
			return err
		}
		t.Run(s.name(), unchanged).Add(u, s.bytes)
	}
	var out counter
	if u, err = h.restore(ctx, ts, 1, &out); err != nil {
		return err
	}
	if out.n != s.bytes {
		return fmt.Errorf("%d bytes of %d came back", out.n, s.bytes)
	}
	t.Run(s.name(), restored).Add(u, s.bytes)
	return nil
}

// count writes a number of many digits.
func count(n int) string {
	if n >= size.Mega && n%size.Mega == 0 {
		return fmt.Sprintf("%d million", n/size.Mega)
	}
	return fmt.Sprint(n)
}
