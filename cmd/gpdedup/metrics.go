package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/report"
	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/base"
)

// uncounted are the commands of whose runs no numbers are left: they only look.
var uncounted = map[string]bool{
	"repo init": true, "repo info": true, "repo stats": true, "repo probe": true, "backup list": true, "backup show": true,
	"stream list": true, "wal list": true, "wal prefetch": true, "wal push-ahead": true, "base list": true,
	"version": true, "help": true,
}

// beginMetrics begins to count a run, if somebody wants its numbers. The command is what
// kong calls it: words, and then arguments.
func (g *Globals) beginMetrics(command string, started time.Time) {
	if g.MetricsFile == "" {
		return
	}
	words := strings.Fields(command)
	for i, w := range words {
		if strings.HasPrefix(w, "<") || strings.HasPrefix(w, "[") {
			words = words[:i]
			break
		}
	}
	g.command = strings.Join(words, " ")
	if !uncounted[g.command] {
		g.metrics = metrics.Begin(g.MetricsFile, g.command, started)
	}
}

// endMetrics leaves the numbers of a run that ended with err. Nothing comes of it if it
// cannot: a server or gpbackup takes every word for a failure, so they are not even told.
func (g *Globals) endMetrics(err error) {
	if g.metrics == nil {
		return
	}
	location := g.Repo
	if location != "" && !strings.Contains(location, "://") {
		if abs, err := filepath.Abs(location); err == nil {
			location = abs
		}
	}
	g.metrics.Describe(g.Namespace, location)
	code := plugin.ExitCode(err)
	if g.command == "wal fetch" && err != nil {
		code = wal.FetchExit(err)
	}
	if sig := g.signals.caught(); sig != 0 && err != nil {
		code = 128 + int(sig)
	}
	if err := g.metrics.End(code); err != nil && !g.signals.isQuiet() {
		g.log.Warn("the numbers of this run are not counted", "error", err)
	}
}

// caught returns the signal that asked the process to end, or 0.
func (s *signals) caught() syscall.Signal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func (s *signals) isQuiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quiet
}

// countStored counts one stream.
func (g *Globals) countStored(w *repo.WriteReport) {
	g.metrics.Stored(storedStream(&w.Stats, w.Length, w.ManifestBytes))
}

func storedStream(s *manifest.Stats, length uint64, manifestBytes int64) metrics.Stream {
	return metrics.Stream{
		Streams: 1, Bytes: length, New: s.NewRaw, Stored: s.NewStored + uint64(manifestBytes),
		Chunks: s.Chunks, NewChunks: s.NewChunks, DeltaChunks: s.DeltaChunks,
	}
}

// countBase counts a base backup.
func (g *Globals) countBase(content string, p *base.PushReport) {
	g.countStored(&p.WriteReport)
	g.metrics.SetTime(metrics.BaseLast, time.Now(), content)
	g.metrics.Set(metrics.BaseBytes, float64(p.Length), content)
}

// countPrune counts what a prune did; a dry run does nothing.
func (g *Globals) countPrune(p *repo.PruneReport) {
	if p == nil || p.DryRun {
		return
	}
	m := g.metrics
	m.Add(metrics.PruneFreed, float64(p.RemovedBytes))
	m.Add(metrics.PruneRemovedPacks, float64(p.RemovedPacks))
	m.Set(metrics.PruneWaiting, float64(p.WaitingBytes+p.CondemnedBytes))
	m.Set(metrics.PruneUnused, float64(p.UnusedBytes))
	m.Set(metrics.PruneKept, float64(p.KeptBytes))
	m.Set(metrics.PruneLost, float64(p.LostChunks))
}

// countForgotten counts what a policy did.
func (g *Globals) countForgotten(dryRun bool, kept, forgotten int, pruned *repo.PruneReport) {
	if dryRun {
		return
	}
	g.metrics.Add(metrics.Forgotten, float64(forgotten))
	g.metrics.Set(metrics.Kept, float64(kept))
	g.countPrune(pruned)
}

// countCheck counts what a check found.
func (g *Globals) countCheck(c *repo.CheckReport) {
	m := g.metrics
	m.Set(metrics.CheckDamaged, float64(len(c.Damage)))
	m.Add(metrics.CheckRead, float64(c.BytesRead))
	m.Set(metrics.CheckPacks, float64(c.Packs))
	m.Set(metrics.CheckNeverRead, float64(c.NeverRead))
	m.Afresh(metrics.CheckOldestRead)
	if c.OldestRead != nil {
		m.SetTime(metrics.CheckOldestRead, *c.OldestRead)
	}
}

// countCopy counts what a copy did.
func (g *Globals) countCopy(c *repo.CopyReport) {
	if c.DryRun {
		return
	}
	g.metrics.Set(metrics.CopyProblems, float64(len(c.Problems)))
	g.metrics.Stored(metrics.Stream{
		Streams: c.Streams, Bytes: c.Bytes, New: c.NewBytes, Stored: c.StoredBytes + c.WALBytes, Chunks: c.Chunks, NewChunks: c.NewChunks,
	})
}

// countPushed counts a file that is in the archive.
func (g *Globals) countPushed(content, path, pgdata string) {
	if g.metrics == nil {
		return
	}
	m := g.metrics
	m.Add(metrics.WALPushed, 1, content)
	m.SetTime(metrics.WALLastPushed, time.Now(), content)
	if name, err := wal.ParseName(filepath.Base(path)); err == nil && name.Kind == wal.Segment {
		// Of its file's size, as the server names segments by their number.
		if info, err := os.Stat(path); err == nil && info.Size() > 0 && info.Size() <= wal.MaxSegmentSize {
			if number, ok := name.Number(uint32(info.Size())); ok {
				m.Set(metrics.WALLastPosition, float64(number)*float64(info.Size()), content)
				m.Set(metrics.WALLastTimeline, float64(name.Timeline), content)
			}
		}
	}
	dir := filepath.Dir(path)
	if pgdata != "" {
		dir = filepath.Join(pgdata, "pg_wal")
	}
	if ready, ok := readyFiles(filepath.Join(dir, "archive_status"), filepath.Base(path)); ok {
		m.Set(metrics.WALReady, float64(ready), content)
	}
}

// readyFiles counts the files that wait to be archived, but for the one that just was.
func readyFiles(dir, but string) (n int, ok bool) {
	const most = 4096 // so that a backlog does not slow down what works it off
	f, err := os.Open(dir)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	names, err := f.Readdirnames(most)
	if err != nil && len(names) > 0 {
		return 0, false
	}
	for _, name := range names {
		if file, ready := strings.CutSuffix(name, ".ready"); ready && file != but {
			n++
		}
	}
	return n, true
}

// countReport leaves what a report says for who watches the repository.
func (g *Globals) countReport(r *report.Report) {
	m := g.metrics
	if m == nil {
		return
	}
	m.Set(metrics.RepositoryStored, float64(r.Totals.Stored))
	m.Set(metrics.RepositoryLogical, float64(r.Totals.Logical))
	m.Set(metrics.RepositoryAdded, float64(r.Totals.Added))
	m.Set(metrics.RepositoryVerified, float64(r.Check.ReadBytes))
	m.Set(metrics.RepositoryPacks, float64(r.Check.Bytes))
	// What is there no more is not to stay in the file for ever.
	for _, id := range []metrics.ID{metrics.RepositoryGrowth, metrics.RepositoryFull, metrics.DatabaseLast, metrics.RecoverableUntil} {
		m.Afresh(id)
	}
	if f := r.Forecast; f != nil {
		m.Set(metrics.RepositoryGrowth, float64(f.PerDay))
		if f.Full != nil && f.Full.Days != nil {
			m.Set(metrics.RepositoryFull, float64(*f.Full.Days))
		}
	}
	for i := range r.Databases {
		if d := &r.Databases[i]; d.Database != "" {
			m.SetTime(metrics.DatabaseLast, d.Last, d.Namespace, d.Database)
		}
	}
	for cluster, at := range r.Recoverable() {
		m.SetTime(metrics.RecoverableUntil, at, cluster.Namespace, cluster.Content)
	}
}
