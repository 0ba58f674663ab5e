//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/parts"
	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/digest"
)

// The phases of a table's life.
const (
	first     = "first"
	unchanged = "unchanged"
	restored  = "restore"
	next      = "next day"

	elsewhere  = "unchanged, empty cache"
	toNull     = "restore to /dev/null"
	partsTotal = "all of them"
)

// What bounds a phase, beside the contenders.
const (
	zstdName   = "zstd -1"
	unzstdName = "zstd -d"
	cpName     = "cp"
	blake3Name = "BLAKE3"
	partsName  = "parts"
)

// table measures whole backups and restores of one table: the first, the same again, the next day's, and what comes back.
func (b *bench) table(ctx context.Context) (*results.Topic, error) {
	dir, remove, err := b.inputs()
	if err != nil {
		return nil, err
	}
	defer remove()
	day1, day2 := filepath.Join(dir, "day1"), filepath.Join(dir, "day2")
	table := tablegen.New(tablegen.Heap, 1, b.set.rows())
	if err := writeFile(day1, table); err != nil {
		return nil, err
	}
	table.NextDay(tablegen.Daily(tablegen.Heap))
	if err := writeFile(day2, table); err != nil {
		return nil, err
	}
	tools := &tools{b: b, file: day1}
	text, err := os.ReadFile(day1)
	if err != nil {
		return nil, err
	}
	if tools.parts, err = parts.Of(text); err != nil {
		return nil, err
	}
	return b.do(ctx, workload{
		rounds: b.set.rounds, verify: true, beside: tools.beside,
		steps: []step{
			{first, "one", day1},
			{unchanged, "same", day1},
			{restored, "one", ""},
			{next, "two", day2},
		},
		ours: tools.ours,
	})
}

// tools measures, on the same file, what does a part of the work.
type tools struct {
	b     *bench
	file  string
	parts []parts.Part
}

// ours is what only gpdedup does: the same again on a host whose cache is empty, and a restore without a pipe.
func (x *tools) ours(ctx context.Context, phase string, s *contender.Store, t *results.Topic) error {
	length, err := fileSize(x.file)
	if err != nil {
		return err
	}
	switch phase {
	case unchanged:
		if err := s.DropCache(); err != nil {
			return err
		}
		u, err := s.Put(ctx, "elsewhere", contender.Input{File: x.file})
		if err != nil {
			return err
		}
		t.Run(s.Name, elsewhere).Add(u, length)
	case restored:
		u, err := s.GetToNull(ctx, "one")
		if err != nil {
			return err
		}
		t.Run(s.Name, toNull).Add(u, length)
	}
	return nil
}

// beside measures what bounds a phase.
func (x *tools) beside(ctx context.Context, phase string, t *results.Topic) error {
	length, err := fileSize(x.file)
	if err != nil {
		return err
	}
	run := func(program, phase string, c process.Command) error {
		c.Watch = true
		u, err := x.b.place.Run(ctx, c)
		if err != nil {
			return err
		}
		t.Run(program, phase).Add(u, length)
		return nil
	}
	packed, wanted := x.file+".zst", func(name string) bool { return slices.Contains(x.b.set.peers, name) }
	switch phase {
	case first:
		if wanted("zstd") {
			if err := run(zstdName, first, process.Command{
				Args: []string{"zstd", "-q", "-1", fmt.Sprintf("-T%d", runtime.NumCPU()), "-f", "-o", packed}, File: x.file,
			}); err != nil {
				return err
			}
			n, err := fileSize(packed)
			if err != nil {
				return err
			}
			r := t.Run(zstdName, first)
			r.Stored = append(r.Stored, float64(n))
		}
		if wanted("cp") {
			copied := x.file + ".copy"
			if err := run(cpName, first, process.Command{Args: []string{"cp", x.file, copied}}); err != nil {
				return err
			}
			if err := os.Remove(copied); err != nil {
				return err
			}
		}
		return x.runParts(t, length)
	case unchanged:
		c, err := process.Role("blake3")
		if err != nil {
			return err
		}
		c.File = x.file
		return run(blake3Name, unchanged, c)
	case restored:
		if wanted("zstd") {
			c := process.Command{Args: []string{"zstd", "-q", "-d", "-c", packed}, Pipe: true}
			if err := run(unzstdName, restored, c); err != nil {
				return err
			}
			c.Pipe = false
			return run(unzstdName, toNull, c)
		}
	}
	return nil
}

// runParts has the kinds of work that a first backup cannot do without done, one after the other.
func (x *tools) runParts(t *results.Topic, length int64) error {
	before, err := ownCPU()
	if err != nil {
		return err
	}
	each, sum := parts.Time(x.parts)
	after, err := ownCPU()
	if err != nil {
		return err
	}
	for i, p := range x.parts {
		t.Run(partsName, p.Name).Add(process.Usage{Wall: each[i]}, length)
	}
	t.Run(partsName, partsTotal).Add(process.Usage{Wall: sum, CPU: after - before}, length)
	return nil
}

// ownCPU is the processor time of this process so far.
func ownCPU() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// hashInput is a role: it does nothing but name standard input, in one thread, as gpdedup names chunks.
func hashInput() error {
	runtime.GOMAXPROCS(1)
	h := digest.NewHasher([32]byte{1})
	buffer := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(os.Stdin, buffer)
		h.Sum(buffer[:n])
		if n < len(buffer) {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil
			}
			return err
		}
	}
}

// appendOnly measures a table that grows by 2 % at its end.
func (b *bench) appendOnly(ctx context.Context) (*results.Topic, error) {
	dir, remove, err := b.inputs()
	if err != nil {
		return nil, err
	}
	defer remove()
	day1, day2 := filepath.Join(dir, "day1"), filepath.Join(dir, "day2")
	table := tablegen.New(tablegen.AppendOnly, 2, b.set.rows()/2)
	if err := writeFile(day1, table); err != nil {
		return nil, err
	}
	table.NextDay(tablegen.Daily(tablegen.AppendOnly))
	if err := writeFile(day2, table); err != nil {
		return nil, err
	}
	return b.do(ctx, workload{rounds: b.set.few(), steps: []step{{first, "one", day1}, {next, "two", day2}, {restored, "two", ""}}})
}

// noise measures what nothing compresses: images in a table, or what the database encrypted.
func (b *bench) noise(ctx context.Context) (*results.Topic, error) {
	dir, remove, err := b.inputs()
	if err != nil {
		return nil, err
	}
	defer remove()
	file := filepath.Join(dir, "noise")
	if err := writeFile(file, noise(b.set.size/2)); err != nil {
		return nil, err
	}
	return b.do(ctx, workload{rounds: b.set.few(), steps: []step{{first, "one", file}, {unchanged, "same", file}, {restored, "one", ""}}})
}

// random is a stream of bytes that nothing compresses, of so many bytes.
type random int64

func noise(n int64) random { return random(n) }

// WriteTo writes all of them.
func (r random) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, r.reader())
}

func (r random) reader() io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{7}), int64(r))
}

// large measures one long stream, in which no table repeats.
func (b *bench) large(ctx context.Context) (*results.Topic, error) {
	dir, remove, err := b.inputs()
	if err != nil {
		return nil, err
	}
	defer remove()
	file := filepath.Join(dir, "stream")
	if err := writeFile(file, &tableSource{bytes: b.set.large, seed: 9}); err != nil {
		return nil, err
	}
	return b.do(ctx, workload{rounds: 1, steps: []step{{first, "one", file}, {unchanged, "same", file}, {restored, "one", ""}}})
}
