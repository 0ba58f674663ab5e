package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/process"
)

// world is the directory that everything lies in.
type world struct {
	ctx          context.Context //nolint:containedctx // lives as long as run
	place        *process.Place
	gpdedup, dir string // dir is the place's
	alone        bool   // without peers
}

// source makes the table.
type source interface {
	write(to io.Writer) error // as COPY prints it
	nextDay() error
}

// simulate has the contenders back up the table on each of the days, in turn, and
// then compares what the days restore to with what they were.
func (w *world) simulate(table source, contenders []*contender, days int) error {
	var sums [][sha256.Size]byte
	file := filepath.Join(w.dir, "table")
	for day := range days {
		if day > 0 {
			if err := table.nextDay(); err != nil {
				return fmt.Errorf("day %d: %w", day+1, err)
			}
		}
		sum, err := writeFile(file, table)
		if err != nil {
			return err
		}
		sums = append(sums, sum)
		for _, c := range contenders {
			if c.most > 0 && day >= c.most {
				continue
			}
			if err := c.backup(day, file); err != nil {
				return fmt.Errorf("%s, day %d: %w", c.name, day+1, err)
			}
		}
		fmt.Fprintf(os.Stderr, "day %d of %d\n", day+1, days)
	}
	for _, c := range contenders {
		if c.restore == nil {
			continue
		}
		for day, want := range sums {
			if err := c.compare(day, want); err != nil {
				return fmt.Errorf("%s, day %d: %w", c.name, day+1, err)
			}
		}
		if err := w.countDeltas(c); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, table source) (sum [sha256.Size]byte, err error) {
	f, err := os.Create(path)
	if err != nil {
		return sum, err
	}
	hash := sha256.New()
	err = table.write(io.MultiWriter(f, hash))
	return [sha256.Size]byte(hash.Sum(nil)), errors.Join(err, f.Close())
}

// compare restores a day and compares it with what it was.
func (c *contender) compare(day int, want [sha256.Size]byte) error {
	hash := sha256.New()
	cmd := c.restore(day)
	cmd.Stdout, cmd.Stderr = hash, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if [sha256.Size]byte(hash.Sum(nil)) != want {
		return errors.New("what was restored differs from what was backed up")
	}
	return nil
}

// countDeltas asks how many chunks of each day were new, and how many of these were
// stored as deltas against a similar one.
func (w *world) countDeltas(c *contender) error {
	cmd := exec.Command(w.gpdedup, "repo", "stats", "--json", "--config", w.config(c.name))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: count deltas: %w", c.name, err)
	}
	var stats struct {
		Roots []struct {
			Group       string `json:"group"`
			NewChunks   int64  `json:"new_chunks"`
			DeltaChunks int64  `json:"delta_chunks"`
		} `json:"roots"`
	}
	if err := json.Unmarshal(out, &stats); err != nil {
		return fmt.Errorf("%s: count deltas: %w", c.name, err)
	}
	for _, root := range stats.Roots { // sorted by timestamp
		c.changed, c.deltas = append(c.changed, root.NewChunks), append(c.deltas, root.DeltaChunks)
	}
	return nil
}

// restored is what a restore took.
type restored struct {
	time, processor time.Duration // the least of several rounds, each by itself
}

// restores times the restore of the first day and of the last by turns, of the plain
// repository.
func (w *world) restores(days int) (best [2]restored, err error) {
	for range 5 {
		for i, day := range []int{0, days - 1} {
			start := time.Now()
			cmd := exec.Command(w.gpdedup, "restore_data", w.config("plain"), path("plain", day))
			cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
			if err := cmd.Run(); err != nil {
				return best, fmt.Errorf("restore day %d: %w", day+1, err)
			}
			took := restored{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
			if best[i].time == 0 {
				best[i] = took
			}
			best[i].time = min(best[i].time, took.time)
			best[i].processor = min(best[i].processor, took.processor)
		}
	}
	return best, nil
}
