//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/results"
)

// step is something that all programs do, one after the other.
type step struct {
	phase string
	tag   string // of the stream
	file  string // to store; "": the stream is read back
}

// patience bounds each command of a program.
const patience = 10 * time.Minute

// workload is what the contenders do in each round: some steps, each by all of them by turns, in a new repository.
type workload struct {
	rounds int
	verify bool // what the peers restore, too
	steps  []step
	beside func(ctx context.Context, phase string, t *results.Topic) error                     // measures the tools of a phase; may be nil
	ours   func(ctx context.Context, phase string, s *contender.Store, t *results.Topic) error // what only gpdedup does; may be nil
}

// do measures a workload.
func (b *bench) do(ctx context.Context, w workload) (*results.Topic, error) {
	t := b.newTopic(w.rounds)
	files := map[string]string{}
	for _, s := range w.steps {
		if s.file != "" {
			files[s.tag] = s.file
		}
	}
	failed := map[string]bool{}
	for round := range w.rounds {
		progress("  round %d of %d", round+1, w.rounds)
		if err := b.round(ctx, w, t, files, round, failed); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (b *bench) round(ctx context.Context, w workload, t *results.Topic, files map[string]string, round int, failed map[string]bool) (err error) {
	// Who comes first is another one each time: what the machine does meanwhile strikes all alike.
	programs := slices.Clone(b.programs)
	if round%2 == 1 {
		slices.Reverse(programs)
	}
	var stores []*contender.Store
	defer func() {
		for _, s := range stores {
			err = errors.Join(err, s.Close())
		}
	}()
	// A peer that fails says so in the report, and ends nothing.
	fail := func(name string, err error) error {
		if ctx.Err() != nil || name == contender.Gpdedup {
			return errors.Join(ctx.Err(), err)
		}
		progress("  %s failed, and is left out: %v", name, err)
		t.Notes = append(t.Notes, name+" failed, and was left out from then on")
		failed[name] = true
		return nil
	}
	for _, p := range programs {
		if failed[p.Name] {
			continue
		}
		s, err := p.Open(ctx, b.place)
		if err != nil {
			if err := fail(p.Name, err); err != nil {
				return err
			}
			continue
		}
		stores = append(stores, s)
	}
	for _, step := range w.steps {
		for _, s := range stores {
			if failed[s.Name] {
				continue
			}
			// Once is enough to see that all is as it was, and long enough.
			verify := round == 0 && (w.verify || s.Name == contender.Gpdedup)
			err := b.step(ctx, step, s, t, files[step.tag], verify)
			if err == nil && s.Name == contender.Gpdedup && w.ours != nil {
				err = w.ours(ctx, step.phase, s, t)
			}
			if err != nil {
				if err := fail(s.Name, fmt.Errorf("%s: %w", step.phase, err)); err != nil {
					return err
				}
			}
		}
		if w.beside != nil {
			if err := w.beside(ctx, step.phase, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// step has one program do it.
func (b *bench) step(ctx context.Context, x step, s *contender.Store, t *results.Topic, file string, verify bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	run := t.Run(s.Name, x.phase)
	length, err := fileSize(file)
	if err != nil {
		return err
	}
	if x.file != "" {
		u, err := s.Put(ctx, x.tag, contender.Input{File: file})
		if err != nil {
			return err
		}
		run.Add(u, length)
		stored, err := s.Size()
		run.Stored = append(run.Stored, float64(stored))
		return err
	}
	u, err := s.Get(ctx, x.tag, nil)
	if err != nil {
		return err
	}
	run.Add(u, length)
	if !verify {
		return nil
	}
	return same(file, func(out io.Writer) error {
		_, err := s.Get(ctx, x.tag, out)
		return err
	})
}

// same makes sure that what is written is what the file holds.
func same(file string, write func(io.Writer) error) error {
	want, got := sha256.New(), sha256.New()
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(want, f); err != nil {
		return err
	}
	if err := write(got); err != nil {
		return err
	}
	if sum := func(h hash.Hash) string { return string(h.Sum(nil)) }; sum(want) != sum(got) {
		return errors.New("other bytes came back")
	}
	return nil
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// inputs is a directory for files to store, and removes it.
func (b *bench) inputs() (dir string, remove func(), err error) {
	dir, err = b.place.Fresh("inputs")
	return dir, func() { _ = os.RemoveAll(dir) }, err // the place's end removes it at the latest
}

// writeFile makes a file to store, and leaves nothing for the kernel to write while something else is measured.
func writeFile(path string, from io.WriterTo) error {
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	_, err = from.WriteTo(f)
	return errors.Join(err, f.Sync(), f.Close())
}
