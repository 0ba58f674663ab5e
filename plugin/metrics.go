package plugin

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// beginMetrics begins to count the call, once its configuration says whether anybody wants
// that. A configuration that cannot be read is not counted.
func (p *Process) beginMetrics(c *Config) {
	if c.MetricsFile == "" || p.command == refreshCommand {
		return
	}
	location := c.Repository
	if !strings.Contains(location, "://") {
		location = filepath.Clean(location)
	}
	p.metrics = metrics.Begin(c.MetricsFile, p.command, p.started)
	p.metrics.Describe(c.Namespace, location)
	c.retried = func() { p.metrics.Add(metrics.Retries, 1) }
}

// endMetrics leaves the numbers of the call. What comes of it only the log is told.
func (p *Process) endMetrics(code int) {
	if err := p.metrics.End(code); err != nil && p.log != nil {
		p.log.Warn("the numbers of this call are not counted", "error", err)
	}
}

// countVerdict notes gpbackup's own verdict on a backup: it stores config.yaml last, and
// whatever became of the backup.
func (p *Process) countVerdict(name repo.Name, f *os.File) {
	if p.metrics == nil || backups.ParseFile(name.Group, name.Item).Kind != backups.ConfigFile {
		return
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return
	}
	if c, err := backups.ReadConfig(f); err == nil && c.Status == "Success" {
		p.metrics.SetTime(metrics.GpbackupSuccess, time.Now(), c.DatabaseName)
	}
}

// countPrune counts what deleting a backup collected in passing; nil: nothing.
func (p *Process) countPrune(r *repo.PruneReport) {
	if r != nil {
		p.metrics.Add(metrics.PruneFreed, float64(r.RemovedBytes))
		p.metrics.Add(metrics.PruneRemovedPacks, float64(r.RemovedPacks))
	}
}

// countCopy counts what went to the replica.
func (p *Process) countCopy(r *repo.CopyReport) {
	p.metrics.Set(metrics.CopyProblems, float64(len(r.Problems)))
	p.metrics.Stored(metrics.Stream{
		Streams: r.Streams, Bytes: r.Bytes, New: r.NewBytes, Stored: r.StoredBytes, Chunks: r.Chunks, NewChunks: r.NewChunks,
	})
}
