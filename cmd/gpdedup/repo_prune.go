package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// RepoPruneCmd is gpdedup repo prune.
type RepoPruneCmd struct {
	DryRun          bool           `name:"dry-run" help:"Say what would be removed and how much comes back; change nothing."`
	MaxUnused       string         `name:"max-unused" placeholder:"PERCENT" help:"How much of what stays may be of no use, as 5% or 0; 'unlimited' rewrites nothing. Default: 5%, with --exclusive 0."`
	RepackSmall     bool           `name:"repack-small" help:"Also merge small packs, in the order of the newest backups."`
	Grace           *time.Duration `help:"How long what is deleted or condemned stays before it is removed. Default: 24h."`
	Exclusive       bool           `help:"Wait for nothing: you guarantee that no backup and no other prune runs meanwhile. Everything goes in this run."`
	MaxDuration     time.Duration  `name:"max-duration" help:"Begin nothing new after this time, as 45m."`
	IncompleteAfter *time.Duration `name:"incomplete-after" help:"Delete backups that were never completed, and checkpoints of streams that were never finished, when nothing was added to them for this long, as 168h."`
}

// Help shows examples.
func (RepoPruneCmd) Help() string {
	return `Frees the space of what was deleted. It is safe beside backups, restores and other prunes,
on any number of hosts: nothing is locked. What is of no use is condemned first, and
removed by a later prune when the grace has passed; so run it every day. Packs of which
little is used are rewritten.

Deleted backups are removed when they have been deleted for as long as the grace, and can
be brought back until then: 'gpdedup backup undelete'.

Examples:

	gpdedup repo prune --dry-run
	gpdedup repo prune
	gpdedup repo prune --max-duration 1h --repack-small
	gpdedup repo prune --exclusive
`
}

// pruneReport is what repo prune prints.
type pruneReport struct {
	*repo.PruneReport
	Incomplete []incompleteBackup `json:"incomplete"`
}

// incompleteBackup is a timestamp that was never completed.
type incompleteBackup struct {
	Namespace string    `json:"namespace"`
	Timestamp string    `json:"timestamp"`
	Last      time.Time `json:"last_stored"`
	Deleted   bool      `json:"deleted"` // by this run
}

// Run collects garbage.
func (c *RepoPruneCmd) Run(g *Globals) error {
	o, err := c.options(time.Now())
	if err != nil {
		return err
	}
	r, err := g.Open("gc")
	if err != nil {
		return err
	}
	defer r.Close()
	report := &pruneReport{}
	if report.Incomplete, err = c.incomplete(g, r); err != nil {
		return fmt.Errorf("look for incomplete backups: %w", err)
	}
	o.Progress = g.stages()
	report.PruneReport, err = r.Prune(g.Context(), o)
	o.Progress("", 0, 0)
	if err != nil {
		return err
	}
	g.countPrune(report.PruneReport)
	g.metrics.Set(metrics.PruneIncomplete, float64(len(report.Incomplete)))
	return g.Print(report, report.write)
}

func (c *RepoPruneCmd) options(now time.Time) (repo.PruneOptions, error) {
	o := repo.PruneOptions{
		DryRun: c.DryRun, RepackSmall: c.RepackSmall,
		Grace: repo.DefaultGrace, MinAge: repo.DefaultMinAge, MaxUnused: repo.DefaultMaxUnused,
	}
	if c.Exclusive {
		o.Grace, o.MinAge, o.MaxUnused, o.Exclusive = 0, 0, 0, true
	}
	if c.Grace != nil {
		if *c.Grace < 0 {
			return o, fmt.Errorf("%w: --grace %s is negative", repo.ErrUsage, *c.Grace)
		}
		if c.Exclusive && *c.Grace > 0 {
			return o, fmt.Errorf("%w: --exclusive waits for nothing; leave --grace out", repo.ErrUsage)
		}
		// Whoever shortens the grace does not want to wait for the age of packs either.
		o.Grace, o.MinAge = *c.Grace, min(*c.Grace, o.MinAge)
	}
	if c.MaxDuration < 0 {
		return o, fmt.Errorf("%w: --max-duration %s is negative", repo.ErrUsage, c.MaxDuration)
	}
	if c.MaxDuration > 0 {
		o.Deadline = now.Add(c.MaxDuration)
	}
	if c.IncompleteAfter != nil {
		o.AbandonedAfter = max(*c.IncompleteAfter, 1)
	}
	switch c.MaxUnused {
	case "":
	case "unlimited":
		o.MaxUnused = -1
	default:
		text, percent := strings.CutSuffix(c.MaxUnused, "%")
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f < 0 || f > 100 || !percent && f != 0 {
			return o, fmt.Errorf("%w: --max-unused %q is none of 0, 5%%, 'unlimited'", repo.ErrUsage, c.MaxUnused)
		}
		o.MaxUnused = f / 100
	}
	return o, nil
}

// incomplete finds backups that were never completed and, if it is asked for, deletes those
// to which nothing was added for long.
func (c *RepoPruneCmd) incomplete(g *Globals, r *repo.Repo) ([]incompleteBackup, error) {
	found := []incompleteBackup{}
	namespaces, err := r.Namespaces(g.Context(), repo.Backup)
	if err != nil {
		return nil, err
	}
	for _, ns := range namespaces {
		list, err := backups.List(g.Context(), r, ns, backups.ListOptions{})
		if err != nil {
			return nil, err
		}
		for i := range list {
			b := &list[i]
			// Of what consists of checkpoints only the repository itself knows the age.
			if b.Status != backups.Incomplete && b.Status != backups.Failed || b.LastStored.IsZero() {
				continue
			}
			x := incompleteBackup{Namespace: ns, Timestamp: b.Timestamp, Last: b.LastStored}
			if c.IncompleteAfter != nil && time.Since(b.LastStored) >= *c.IncompleteAfter {
				x.Deleted = true
				if !c.DryRun {
					if err := r.Delete(g.Context(), repo.Name{Class: repo.Backup, Namespace: ns, Group: b.Timestamp}); err != nil {
						return nil, err
					}
				}
			}
			found = append(found, x)
		}
	}
	return found, nil
}

// stages returns a progress function for work in several stages, which an empty stage ends.
func (g *Globals) stages() func(stage string, done, total int64) {
	current, finish := "", func() {}
	var update func(int64, int64)
	return func(stage string, done, total int64) {
		if stage != current {
			finish()
			current, finish = stage, func() {}
			if stage != "" {
				format := countOnly
				if stage == "copying" || stage == "rescuing" || stage == "reading the index" {
					format = size.Format
				}
				update, finish = g.lateProgress(stage, format)
			}
		}
		if stage != "" {
			update(done, total)
		}
	}
}

func (p *pruneReport) write(w io.Writer) {
	would := func(did, would string) string {
		if p.DryRun {
			return would
		}
		return did
	}
	t := newTable(w)
	row(t, "found", fmt.Sprintf("%s in %s, %s, %s", formatBytes(p.PackBytes), count(p.Packs, "pack"), count(p.Chunks, "chunk"), count(p.Manifests, "manifest")))
	if !p.DryRun {
		row(t, "removed", fmt.Sprintf("%s in %s; %s", formatBytes(p.RemovedBytes), count(p.RemovedPacks, "pack"), count(p.RemovedManifests, "manifest")))
	}
	if p.CopiedChunks > 0 {
		text := fmt.Sprintf("%s in %s out of packs that are small or of little use", formatBytes(p.CopiedBytes), count(p.CopiedChunks, "chunk"))
		if p.RecodedChunks > 0 {
			text += fmt.Sprintf("; %d of them encoded anew, without bases that nothing else needs", p.RecodedChunks)
		}
		row(t, would("repacked", "would repack"), text)
	}
	if p.RescuedChunks > 0 {
		row(t, "rescued", fmt.Sprintf("%s in %s that came to be needed again", formatBytes(p.RescuedBytes), count(p.RescuedChunks, "chunk")))
	}
	if p.CondemnedPacks+p.CondemnedRoots > 0 {
		row(t, would("condemned", "would condemn"), fmt.Sprintf("%s in %s; %s", formatBytes(p.CondemnedBytes), count(p.CondemnedPacks, "pack"), count(p.CondemnedRoots, "deleted backup")))
	}
	if p.WaitingPacks+p.WaitingRoots > 0 {
		row(t, "waiting", fmt.Sprintf("%s in %s and %s, for the grace to pass", formatBytes(p.WaitingBytes), count(p.WaitingPacks, "condemned pack"), count(p.WaitingRoots, "deleted backup")))
	}
	kept := fmt.Sprintf("%s, of which %s are of no use", formatBytes(p.KeptBytes), formatBytes(p.UnusedBytes))
	if p.YoungBytes > 0 {
		kept += fmt.Sprintf("; nothing needs %s that are too young to go: a backup may be about to", formatBytes(p.YoungBytes))
	}
	row(t, "kept", kept)
	if p.FoldedPacks+p.MergedFragments > 0 {
		row(t, "index", fmt.Sprintf("%s named, %s merged", count(p.FoldedPacks, "pack"), count(p.MergedFragments, "fragment")))
	}
	if p.RemovedCheckpoints+p.Checkpoints > 0 {
		row(t, "checkpoints", fmt.Sprintf("%d removed, %d of streams that are not finished", p.RemovedCheckpoints, p.Checkpoints))
	}
	if p.LostChunks > 0 {
		row(t, "lost", count(p.LostChunks, "chunk")+" of which no copy is left: gpdedup repo check names the streams")
	}
	_ = t.Flush() // to a buffer
	for _, b := range p.Incomplete {
		note := ""
		if b.Deleted {
			note = "; " + would("deleted", "would be deleted")
		}
		say(w, "incomplete: %s %s, last stored to %s%s", b.Namespace, b.Timestamp, formatTime(b.Last), note)
	}
	for _, text := range p.Kept {
		say(w, "kept: %s", text)
	}
	if p.Unfinished {
		say(w, "time was up: run it again to go on")
	}
}
