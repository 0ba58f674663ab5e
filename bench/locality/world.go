package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/local"
)

// world is a repository and its host.
type world struct {
	dir, cache string
	counter    *counter
	r          *repo.Repo
	pruned     pruned
	small      bool // prune merges small packs
}

func newWorld(ctx context.Context, dir string) (*world, error) {
	w := &world{dir: dir, cache: dir + "/cache"}
	if err := os.MkdirAll(dir+"/repo", 0o700); err != nil {
		return nil, err
	}
	if err := repo.CreateKeyFile(dir + "/key"); err != nil {
		return nil, err
	}
	st, err := local.Create(dir + "/repo")
	if err != nil {
		return nil, err
	}
	if _, err := repo.Init(ctx, st, repo.InitOptions{Secret: w.secret(), Now: time.Now()}); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err := st.Close(); err != nil {
		return nil, err
	}
	w.r, w.counter, err = w.open(ctx, "gc", w.cache)
	return w, err
}

func (w *world) secret() repo.Secret { return repo.Secret{KeyFile: w.dir + "/key"} }

// open opens the repository and counts what it reads.
func (w *world) open(ctx context.Context, operation, cache string) (*repo.Repo, *counter, error) {
	st, err := local.Open(w.dir + "/repo")
	if err != nil {
		return nil, nil, err
	}
	c := &counter{Storage: st}
	r, err := repo.Open(ctx, c, operation, repo.Options{Secret: w.secret(), CacheDir: cache})
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return r, c, nil
}

func (w *world) close() { _ = w.r.Close() }

func name(day int) repo.Name {
	ts := time.Date(2026, 1, 1, 21, 0, 0, 0, time.UTC).AddDate(0, 0, day).Format("20060102150405")
	return repo.Name{Class: repo.Backup, Namespace: "default", Group: ts, Item: "gpbackup_0_" + ts + "_16384"}
}

// backUp stores the table as it is on a day, after the host's index was brought up to date.
func (w *world) backUp(ctx context.Context, day int, table *tablegen.Table) error {
	if _, err := w.r.RefreshIndex(ctx); err != nil {
		return err
	}
	r, in := io.Pipe()
	go func() {
		_, err := table.WriteTo(in)
		_ = in.CloseWithError(err)
	}()
	o := repo.WriteOptions{}
	if day > 0 {
		o.Previous = []repo.Name{name(day - 1)}
	}
	_, err := w.r.Write(ctx, name(day), r, o)
	_ = r.Close() // ends the goroutine, had the write failed
	return err
}

// remove deletes a day and collects, as a run with no grace does.
func (w *world) remove(ctx context.Context, day int) error {
	if err := w.r.Delete(ctx, name(day)); err != nil {
		return err
	}
	report, err := w.r.Prune(ctx, repo.PruneOptions{MaxUnused: repo.DefaultMaxUnused, RepackSmall: w.small})
	if err != nil {
		return err
	}
	w.pruned.copied += report.CopiedBytes
	w.pruned.read += report.BytesRead
	w.pruned.kept, w.pruned.unused, w.pruned.packs = report.KeptBytes, report.UnusedBytes, report.Packs
	return nil
}

// pruned is what collecting took so far.
type pruned struct {
	copied, read, kept, unused int64
	packs                      int
}

func (p *pruned) String() string {
	return fmt.Sprintf("%.1f MB kept in %d packs, %.1f MB of no use; copied %.1f MB so far", megabytes(p.kept), p.packs, megabytes(p.unused), megabytes(p.copied))
}

func (p *pruned) cells() string {
	return fmt.Sprintf("– | %d | %.1f MB, of which %.1f MB were copied | –", p.packs, megabytes(p.read), megabytes(p.copied))
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// restored is what a restore took.
type restored struct {
	requests, packs int
	bytes           int64
	processor       time.Duration
	sum             [32]byte
}

func (r *restored) cells() string {
	return fmt.Sprintf("%d | %d | %.1f MB | %.2f s", r.requests, r.packs, megabytes(r.bytes), r.processor.Seconds())
}

func (r *restored) ratios(to *restored) string {
	return fmt.Sprintf("%.2f | %.2f | %.2f | %.2f", float64(r.requests)/float64(to.requests), float64(r.packs)/float64(to.packs),
		float64(r.bytes)/float64(to.bytes), r.processor.Seconds()/to.processor.Seconds())
}

// restore restores a day, as a fresh process does, on a host with this cache.
func (w *world) restore(ctx context.Context, day int, cache string) (restored, error) {
	r, c, err := w.open(ctx, "read", cache)
	if err != nil {
		return restored{}, err
	}
	defer r.Close()
	c.reset()
	hash := blake3.New()
	before := processor()
	if err := r.Restore(ctx, name(day), hash, repo.RestoreOptions{}); err != nil {
		return restored{}, err
	}
	got := c.restored()
	got.processor = processor() - before
	hash.Sum(got.sum[:0])
	return got, nil
}

// alone is what the restore of a table takes that is all that its repository holds.
func alone(ctx context.Context, dir string, table *tablegen.Table) (restored, error) {
	w, err := newWorld(ctx, dir)
	if err != nil {
		return restored{}, err
	}
	defer os.RemoveAll(dir)
	defer w.close()
	if err := w.backUp(ctx, 0, table); err != nil {
		return restored{}, err
	}
	return w.restore(ctx, 0, w.cache)
}

// counter counts what is read.
type counter struct {
	storage.Storage
	mu       sync.Mutex
	requests int
	bytes    int64
	keys     map[string]bool // of packs
}

func (c *counter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.bytes, c.keys = 0, 0, make(map[string]bool)
}

func (c *counter) restored() restored {
	c.mu.Lock()
	defer c.mu.Unlock()
	return restored{requests: c.requests, bytes: c.bytes, packs: len(c.keys)}
}

func (c *counter) count(key string, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	c.bytes += int64(bytes)
	if c.keys != nil && bytes > 0 && len(key) > 6 && key[:6] == "packs/" {
		c.keys[key] = true
	}
}

func (c *counter) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	err := c.Storage.Read(ctx, key, offset, dst)
	n := 0
	if err == nil {
		n = len(dst)
	}
	c.count(key, n)
	return err
}

func (c *counter) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	data, err := c.Storage.Get(ctx, key, limit)
	c.count(key, len(data))
	return data, err
}

func (c *counter) Stat(ctx context.Context, key string) (storage.Info, error) {
	c.count(key, 0)
	return c.Storage.Stat(ctx, key)
}

func (c *counter) List(ctx context.Context, prefix string, fn func(storage.Info) error) error {
	c.count(prefix, 0)
	return c.Storage.List(ctx, prefix, fn)
}

func (c *counter) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	c.count(prefix, 0)
	return c.Storage.Children(ctx, prefix)
}

// processor is the time that this process has taken.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails only for a wrong argument
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
