//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// checkDays is how many days of the table lie in the repositories that are checked.
const checkDays = 5

// inspection is what the checks of one program took.
type inspection struct {
	whole, wholeCPU, memory, stored sample // every byte read
	quick                           sample // the program's own default
}

func (s *inspection) add(whole, quick usage, stored int64) {
	s.whole = append(s.whole, whole.wall.Seconds())
	s.wholeCPU = append(s.wholeCPU, whole.cpu.Seconds())
	s.memory = append(s.memory, float64(whole.anon)/(1<<20))
	s.stored = append(s.stored, float64(stored)/mega)
	s.quick = append(s.quick, quick.wall.Seconds())
}

// check measures the check of a whole repository, next to those of others on the same days of the same table.
func (b *bench) check(ctx context.Context) error {
	progress("check: make %d days of the table", checkDays)
	dir, err := b.fresh("days")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	table := tablegen.New(tablegen.Heap, 1, b.set.rows)
	var files []string
	var length int
	for d := range checkDays {
		if d > 0 {
			table.NextDay(tablegen.Daily(tablegen.Heap))
		}
		files = append(files, filepath.Join(dir, fmt.Sprintf("day%d", d+1)))
		text, err := writeTable(files[d], table)
		if err != nil {
			return err
		}
		length += len(text)
	}
	peers, err := b.findPeers(ctx)
	if err != nil {
		return err
	}
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
	for _, file := range files {
		if _, err := h.whole(ctx, b.timestamp(), file); err != nil {
			return err
		}
	}
	checks := make([]func() error, 0, len(peers)+1)
	ours := &inspection{}
	gpdedup := func(args ...string) (usage, error) {
		args = append([]string{b.exe, "repo", "check", "--repo", r.path, "--key-file", r.key, "--cache-dir", h.cache}, args...)
		return b.run(ctx, command{args: args, watch: true})
	}
	checks = append(checks, func() error {
		whole, err := gpdedup("--read-data")
		quick, quickErr := gpdedup()
		stored, sizeErr := r.stored()
		ours.add(whole, quick, stored)
		return errors.Join(err, quickErr, sizeErr)
	})
	theirs := make([]*inspection, len(peers))
	for i, p := range peers {
		theirs[i] = &inspection{}
		home, err := b.fresh(p.name)
		if err != nil {
			return err
		}
		defer os.RemoveAll(home)
		if err := b.fillPeer(ctx, p, home, files); err != nil {
			return err
		}
		checks = append(checks, func() error {
			run := func(args []string) (usage, error) {
				return b.run(ctx, command{args: args, env: p.env(home), quiet: true, watch: true})
			}
			whole, err := run(p.checkData)
			quick, quickErr := run(p.check)
			stored, sizeErr := treeSize(filepath.Join(home, "repo"))
			theirs[i].add(whole, quick, stored)
			return errors.Join(err, quickErr, sizeErr)
		})
	}
	for n := range b.set.rounds {
		progress("check: round %d of %d", n+1, b.set.rounds)
		for _, check := range checks {
			if err := errors.Join(check(), ctx.Err()); err != nil {
				return err
			}
		}
	}
	for i, p := range peers {
		x := theirs[i]
		t := b.report.table("Check, beside "+p.name+" "+p.version, p.name, fmt.Sprintf(
			"%d days of the table, %s of text, in a repository of each, all from the page cache, by turns: `gpdedup repo check`\n"+
				"and `%s`; %s. Memory is the peak of RssAnon.", checkDays, formatBytes(int64(length)), strings.Join(p.check, " "), p.settings))
		t.compare("every byte: `--read-data`, `"+strings.Join(p.checkData, " ")+"`", seconds, ours.whole, x.whole, nil)
		t.compare("the same, processor time", seconds, ours.wholeCPU, x.wholeCPU, nil)
		t.compare("the same, peak memory", mebibytes, ours.memory, x.memory, nil)
		t.compare("without data", seconds, ours.quick, x.quick, nil)
		t.compare("size of the repository", megabytes, ours.stored, x.stored, nil)
	}
	if len(peers) == 0 {
		t := b.report.table("Check", "other", fmt.Sprintf("%d days of the table, %s of text.", checkDays, formatBytes(int64(length))))
		t.add("every byte", seconds, ours.whole)
		t.add("peak memory", mebibytes, ours.memory)
	}
	return nil
}

// fillPeer stores the days with another program.
func (b *bench) fillPeer(ctx context.Context, p *peer, home string, files []string) error {
	progress("check: %s stores the days", p.name)
	if _, err := b.run(ctx, command{args: p.prepare, env: p.env(home), quiet: true}); err != nil {
		return err
	}
	for i, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		_, err = b.run(ctx, command{args: p.backup(fmt.Sprintf("day%d", i)), env: p.env(home), in: f, quiet: true})
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
