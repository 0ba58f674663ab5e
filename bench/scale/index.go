//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

const (
	indexChunks  = 100_000 // of the smallest index
	lookUps      = 15
	smallBackups = 100
	newText      = 100 * size.Mega
)

// index measures an index of one size.
func (b *bench) index(ctx context.Context, t *table, power int) (err error) {
	chunks := indexChunks / b.set.divide
	for range power {
		chunks *= 10
	}
	progress("index of %s chunks", count(chunks))
	t.column(count(chunks) + " chunks")
	p, err := b.newPlace(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	t.set("content, at 256 KiB a chunk", "%s", size.Format(int64(chunks)*256<<10))
	u, err := b.child(ctx, nil, "build", p.cache, strconv.Itoa(chunks))
	if err != nil {
		return err
	}
	t.set("built from its fragments in, processor time in brackets", "%s (%s)", formatTime(u.Wall), formatTime(u.CPU))
	t.set("… memory of building it", "%s", mebibytes(u.Anon))
	bytes, err := size.Of(p.cache)
	if err != nil {
		return err
	}
	t.set("size on the host", "%s", size.Format(bytes))
	t.set("… for each chunk", "%.0f bytes", float64(bytes)/float64(chunks))
	w := newWorld(chunks)
	if err := p.listFragments(w); err != nil {
		return err
	}
	if err := p.lookUps(ctx, t, chunks); err != nil {
		return err
	}
	if err := p.backUpNew(ctx, t); err != nil {
		return err
	}
	return p.mergeCost(ctx, t, chunks)
}

// child runs one of this program's own.
func (b *bench) child(ctx context.Context, result any, args ...string) (process.Usage, error) {
	self, err := os.Executable()
	if err != nil {
		return process.Usage{}, err
	}
	var out bytes.Buffer
	u, err := b.run(ctx, process.Command{Args: append([]string{self, childArgument}, args...), Out: &out})
	if err == nil && result != nil {
		err = json.Unmarshal(out.Bytes(), result)
	}
	return u, err
}

// lookUps times fresh processes.
func (p *place) lookUps(ctx context.Context, t *table, chunks int) error {
	var warm, cold, cpu []time.Duration
	var anon int64
	for n := range max(lookUps/p.b.set.divide, 1) {
		for _, dropped := range []bool{true, false} { // the second finds what the first read
			if dropped {
				if err := p.dropCache(); err != nil {
					return err
				}
			}
			var l looked
			u, err := p.b.child(ctx, &l, "look", p.cache, p.repo, strconv.Itoa(chunks), strconv.Itoa(n*7919))
			if err != nil {
				return err
			}
			if anon = max(anon, l.Anon); dropped {
				cold = append(cold, u.Wall)
			} else {
				warm, cpu = append(warm, u.Wall), append(cpu, u.CPU)
			}
		}
	}
	t.set("first look-ups of a fresh process", "%s", span(warm))
	t.set("… processor time", "%s", span(cpu))
	t.set("… none of the index in memory", "%s", span(cold))
	t.set("… memory of that process", "%.1f MiB", float64(anon)/(1<<20))
	return nil
}

// span is the median, and in brackets the least and the greatest.
func span(of []time.Duration) string {
	slices.Sort(of)
	return fmt.Sprintf("%s (%s–%s)", formatTime(of[len(of)/2]), formatTime(of[0]), formatTime(of[len(of)-1]))
}

// dropCache has the kernel forget the pages of the host's index, and of nothing else.
func (p *place) dropCache() error {
	files, err := filepath.Glob(filepath.Join(p.cache, "index-*.db"))
	for _, name := range files {
		f, openErr := os.Open(name)
		if openErr != nil {
			return openErr
		}
		err = errors.Join(err, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
	}
	return err
}

// backUpNew stores text that the index does not know, brings the index up to date, and stores it again under another name.
func (p *place) backUpNew(ctx context.Context, t *table) error {
	for i, what := range []string{"backup_data of 100 MB of new text", "backup_data of the same text under another name"} {
		u, err := p.plugin(ctx, "backup_data", streamPath(fmt.Sprintf("2026010%d000000", i+1), 100+i), newSource(newText/int64(p.b.set.divide)), nil)
		if err != nil {
			return err
		}
		t.set(what, "%s", describe(u))
		if i == 0 {
			if u, err = p.plugin(ctx, "refresh_index", "", nil, nil); err != nil {
				return err
			}
			t.set("bringing the index up to date after it", "%s", describe(u))
		}
	}
	return nil
}

// mergeCost measures what backups after each other cost.
func (p *place) mergeCost(ctx context.Context, t *table, chunks int) error {
	var m merged
	backups := max(smallBackups/p.b.set.divide, 2)
	u, err := p.b.child(ctx, &m, "merge", p.cache, strconv.Itoa(chunks), strconv.Itoa(backups))
	if err != nil {
		return err
	}
	var sum int64
	for _, n := range m.Written {
		sum += n
	}
	t.set(fmt.Sprintf("the same after each of %d backups with %d new chunks: written, on average", backups, backupChunks), "%s", size.Format(sum/int64(backups)))
	t.set("… the most for one", "%s", size.Format(slices.Max(m.Written)))
	t.set("… for each new chunk", "%.0f bytes", float64(sum)/float64(backups*backupChunks))
	t.set("… processor time of one, memory", "%s, %s", formatTime(u.CPU/time.Duration(backups)), mebibytes(u.Anon))
	return nil
}
