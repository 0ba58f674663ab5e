//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// The phases of a repository that holds many days.
const (
	aDay      = "a day"
	checkData = "check, every byte"
	checkOnly = "check"
)

// days lets a table change all over, day by day, and has all keep every day in full; then all look for damage.
func (b *bench) days(ctx context.Context) (t *results.Topic, err error) {
	t = b.newTopic(b.set.few())
	dir, remove, err := b.inputs()
	if err != nil {
		return nil, err
	}
	defer remove()
	var stores []*contender.Store
	defer func() {
		for _, s := range stores {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, p := range b.programs {
		s, err := p.Open(ctx, b.place)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		stores = append(stores, s)
	}
	file, length := filepath.Join(dir, "table"), int64(0)
	table := tablegen.New(tablegen.Heap, 1, b.set.rows()/3)
	for day := range b.set.days {
		progress("  day %d of %d", day+1, b.set.days)
		if day > 0 {
			table.NextDay(tablegen.Daily(tablegen.Heap))
		}
		if err := writeFile(file, table); err != nil {
			return nil, err
		}
		n, err := fileSize(file)
		if err != nil {
			return nil, err
		}
		length += n
		for _, s := range stores {
			u, err := s.Put(ctx, fmt.Sprint("day", day), contender.Input{File: file})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
			stored, err := s.Size()
			if err != nil {
				return nil, err
			}
			run := t.Run(s.Name, aDay)
			run.Add(u, n)
			run.Stored = append(run.Stored, float64(stored))
		}
		if err := b.zstdDay(ctx, t, file); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(file); err != nil {
		return nil, err
	}
	for round := range t.Rounds {
		progress("  check, round %d of %d", round+1, t.Rounds)
		for _, s := range stores {
			for phase, data := range map[string]bool{checkOnly: false, checkData: true} {
				u, err := s.Check(ctx, data)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", s.Name, err)
				}
				t.Run(s.Name, phase).Add(u, length)
			}
		}
	}
	return t, nil
}

// zstdDay adds what the day takes by itself, compressed.
func (b *bench) zstdDay(ctx context.Context, t *results.Topic, file string) error {
	if !slices.Contains(b.set.peers, "zstd") {
		return nil
	}
	packed := file + ".zst"
	if _, err := b.place.Run(ctx, process.Command{Args: []string{"zstd", "-q", "-1", "-f", file, "-o", packed}}); err != nil {
		return err
	}
	n, err := fileSize(packed)
	if err != nil {
		return err
	}
	run := t.Run(zstdName, aDay)
	if before := len(run.Stored); before > 0 {
		n += int64(run.Stored[before-1])
	}
	run.Stored = append(run.Stored, float64(n))
	return os.Remove(packed)
}
