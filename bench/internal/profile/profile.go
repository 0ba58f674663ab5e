//go:build linux

// Package profile says where gpdedup's processor time goes: it does what the program does, in this process, under the
// runtime's profiler, and gives every sample to the part of the work that it was taken in.
package profile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/local"
)

// Path is one way through the program.
type Path struct {
	Name  string
	Bytes int64                  // that go in, or come out
	Wall  time.Duration          // of all its turns
	Parts map[Part]time.Duration // processor time
	once  bool                   // it cannot be gone again

	run func(turn int) error
}

// Paths profiles all paths with a repository in dir, which must be empty. day1 and day2 are a table, and the same a day
// later. A path is gone again and again for so long at least: a sample is taken every 10 ms of processor time. keep, if
// not "", is a folder that the profiles are left in, for `go tool pprof`.
func Paths(ctx context.Context, dir string, day1, day2 []byte, least time.Duration, keep string) ([]Path, error) {
	w := &world{ctx: ctx, dir: dir}
	if err := w.open(); err != nil {
		return nil, err
	}
	defer func() { _ = w.close() }() // the directory goes anyway
	one, two := int64(len(day1)), int64(len(day2))
	paths := []Path{
		{Name: "first", Bytes: one, run: func(turn int) error {
			if turn > 0 { // in a repository of its own each time
				if err := w.reopen(); err != nil {
					return err
				}
			}
			return w.write(day1, false)
		}},
		{Name: "unchanged", Bytes: one, run: func(int) error { return w.write(day1, true) }},
		{Name: "next day", Bytes: two, once: true, run: func(int) error {
			return w.write(day2, true)
		}},
		{Name: "restore", Bytes: one, run: func(int) error {
			return w.r.Restore(ctx, w.name(0), io.Discard, repo.RestoreOptions{})
		}},
		{Name: "check", Bytes: one + two, run: func(int) error {
			report, err := w.r.Check(ctx, repo.CheckOptions{Level: repo.CheckData})
			if err == nil && len(report.Damage) > 0 {
				err = fmt.Errorf("%d objects are damaged", len(report.Damage))
			}
			return err
		}},
		{Name: "prune", Bytes: one + two, once: true, run: func(int) error {
			// The day that all others build on: what they need of it is encoded anew.
			for day := range w.day - 1 {
				if err := w.r.Delete(ctx, w.name(day)); err != nil {
					return err
				}
			}
			_, err := w.r.Prune(ctx, repo.PruneOptions{Exclusive: true})
			return err
		}},
	}
	for i := range paths {
		if err := paths[i].profile(ctx, dir, least, keep); err != nil {
			return nil, fmt.Errorf("profile %s: %w", paths[i].Name, err)
		}
	}
	return paths, nil
}

// profile goes the path until there are samples enough.
func (p *Path) profile(ctx context.Context, dir string, least time.Duration, keep string) error {
	file := filepath.Join(dir, "profile")
	if keep != "" {
		file = filepath.Join(keep, p.Name+".pprof")
	}
	f, err := os.Create(filepath.Clean(file))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	begin, turns := time.Now(), 0
	for ; err == nil && (turns == 0 || !p.once && time.Since(begin) < least); turns++ {
		err = p.run(turns)
	}
	p.Wall = time.Since(begin)
	pprof.StopCPUProfile()
	if err != nil {
		return err
	}
	p.Bytes *= int64(turns)
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", file).Output()
	if err != nil {
		return fmt.Errorf("read the profile with go tool pprof: %w", err)
	}
	p.Parts, err = sortOut(bytes.NewReader(out))
	return err
}

// world is a repository in a directory, and the days of one table in it.
type world struct {
	ctx  context.Context //nolint:containedctx // lives as long as Paths
	dir  string
	made int
	day  int // that comes next
	r    *repo.Repo
}

func (w *world) open() error {
	w.made++
	w.day = 0
	dir := filepath.Join(w.dir, fmt.Sprintf("repo%d", w.made))
	key := dir + ".key"
	if err := repo.CreateKeyFile(key); err != nil {
		return err
	}
	st, err := local.Create(dir)
	if err != nil {
		return err
	}
	secret := repo.Secret{KeyFile: key}
	if _, err := repo.Init(w.ctx, st, repo.InitOptions{Secret: secret, Now: time.Now()}); err != nil {
		return err
	}
	w.r, err = repo.Open(w.ctx, st, "write", repo.Options{Secret: secret})
	return err
}

func (w *world) close() error { return w.r.Close() }

func (w *world) reopen() error {
	if err := w.close(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(w.dir, fmt.Sprintf("repo%d", w.made))); err != nil {
		return err
	}
	return w.open()
}

func (w *world) name(day int) repo.Name {
	return repo.Name{Class: repo.Backup, Namespace: "default", Group: fmt.Sprintf("%014d", day), Item: "table"}
}

// write stores the text as the next day.
func (w *world) write(text []byte, previous bool) error {
	o := repo.WriteOptions{}
	if previous {
		o.Previous = []repo.Name{w.name(w.day - 1)}
	}
	_, err := w.r.Write(w.ctx, w.name(w.day), bytes.NewReader(text), o)
	w.day++
	return err
}
