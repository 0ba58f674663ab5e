//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/profile"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// Of the profile: all parts of a path together, and what the machine does with nothing else to do.
const (
	allParts  = "all"
	limitName = "limit"
)

// profile sees where the processor time of each path goes, and what bounds it.
func (b *bench) profile(ctx context.Context) (*results.Topic, error) {
	dir, remove, err := b.inputs()
	if err != nil {
		return nil, err
	}
	defer remove()
	table := tablegen.New(tablegen.Heap, 1, b.set.rows())
	var day1, day2 bytes.Buffer
	if _, err := table.WriteTo(&day1); err != nil {
		return nil, err
	}
	table.NextDay(tablegen.Daily(tablegen.Heap))
	if _, err := table.WriteTo(&day2); err != nil {
		return nil, err
	}
	if b.set.profiles != "" {
		if err := os.MkdirAll(b.set.profiles, 0o755); err != nil {
			return nil, err
		}
	}
	paths, err := profile.Paths(ctx, dir, day1.Bytes(), day2.Bytes(), time.Second, b.set.profiles)
	if err != nil {
		return nil, err
	}
	t := b.newTopic(1)
	t.Programs = t.Programs[:1]
	for _, p := range paths {
		var sum time.Duration
		for part, took := range p.Parts {
			sum += took
			t.Run(string(part), p.Name).Add(process.Usage{CPU: took}, p.Bytes)
		}
		t.Run(allParts, p.Name).Add(process.Usage{Wall: p.Wall, CPU: sum}, p.Bytes)
	}
	limits, err := profile.Limits(dir, day1.Bytes())
	if err != nil {
		return nil, err
	}
	for _, l := range limits {
		t.Run(limitName, l.Name).Add(process.Usage{Wall: l.Wall, CPU: l.CPU}, l.Bytes)
	}
	return t, nil
}

// profileText is the section of the profiles.
func profileText(t *results.Topic) string {
	var names []string
	var total []*results.Run
	for _, r := range t.Runs {
		if r.Program == allParts {
			names, total = append(names, r.Phase), append(total, r)
		}
	}
	var b strings.Builder
	head := append([]string{"share of the processor time"}, names...)
	var rows [][]string
	for _, part := range profile.All {
		row, some := []string{string(part)}, false
		for i, name := range names {
			cell := "–"
			if r := t.Find(string(part), name); r != nil {
				cell, some = fmt.Sprintf("%.0f %%", 100*r.CPU.Median()/total[i].CPU.Median()), true
			}
			row = append(row, cell)
		}
		if some {
			rows = append(rows, row)
		}
	}
	perGB, rate := []string{"processor time, s/GB"}, []string{"MB/s of text"}
	for _, r := range total {
		perGB = append(perGB, results.CPUPerGB(r).Format("%.2f"))
		rate = append(rate, results.Rate(r).Format("%.0f"))
	}
	b.WriteString(markdownTable(head, append(rows, perGB, rate)))
	b.WriteString("\nBeside it what one core of this machine does with the same text and nothing else to do:\n\n")
	var limits [][]string
	for _, r := range t.Runs {
		if r.Program == limitName {
			limits = append(limits, []string{r.Phase, results.Rate(r).Format("%.0f"), results.CPUPerGB(r).Format("%.2f")})
		}
	}
	b.WriteString(markdownTable([]string{"limit, one core", "MB/s", "processor time, s/GB"}, limits))
	return b.String()
}
