package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/base"
)

// BasePushCmd is gpdedup base push.
type BasePushCmd struct {
	Input       string        `arg:"" optional:"" help:"- for the tar archive on standard input that 'pg_basebackup -D - -Ft' writes; otherwise the server is asked."`
	DSN         string        `name:"dsn" placeholder:"DSN" help:"How to reach the server: a connection string or URI of libpq. What it leaves open comes from PGHOST, PGPORT, PGUSER, PGPASSFILE and so on."`
	Label       string        `name:"label" placeholder:"LABEL" help:"Name of the backup; the time if nothing is said."`
	IncludeWAL  bool          `name:"include-wal" help:"Store the WAL that makes the backup consistent with it, so that it needs no archive."`
	WALTimeout  time.Duration `name:"wal-timeout" default:"10m" placeholder:"TIME" help:"How long to wait for the WAL that makes the backup consistent to be archived; then the backup is given up."`
	Checkpoint  string        `name:"checkpoint" enum:"fast,spread" default:"fast" help:"fast: the server makes its checkpoint at once; spread: it takes its time, and the disks are spared."`
	MaxRate     string        `name:"max-rate" placeholder:"SIZE" help:"At most that much a second, such as 50MiB."`
	Compression string        `placeholder:"LEVEL" complete:"off,fastest,default,better,best" help:"off, fastest, default, better or best; fastest if nothing is said."`
	Delta       string        `placeholder:"MODE" complete:"auto,on,off" help:"Store what distinguishes a chunk from a similar one: auto (where it pays; the default), on or off."`
}

// Help shows examples.
func (BasePushCmd) Help() string {
	return `Takes a full base backup over the replication protocol, tablespaces included; what the
last one had is not stored again. The exit code is 0 when all of it is durable and the WAL
that makes it consistent is in the archive of the same --cluster, where archive_command
puts it, or with --include-wal is stored with it. What breaks off leaves nothing.

The server is PostgreSQL 15 or later; for older ones, from 13 on, and without tablespaces,
give it what pg_basebackup writes. The user needs REPLICATION, and pg_hba.conf a line for
the database "replication".

Examples:

	gpdedup base push --cluster main --dsn 'host=/run/postgresql user=postgres'
	PGHOST=db1 PGUSER=replicator gpdedup base push --cluster main --label before-upgrade
	pg_basebackup -D - -Ft -X none -c fast | gpdedup base push --cluster main -
`
}

type basePushReport struct {
	Namespace    string    `json:"namespace"`
	Content      string    `json:"content"`
	Backup       base.Info `json:"backup"`
	Bytes        uint64    `json:"bytes"`
	NewBytes     uint64    `json:"new_bytes"`
	StoredBytes  uint64    `json:"stored_bytes"`
	Chunks       uint64    `json:"chunks"`
	NewChunks    uint64    `json:"new_chunks"`
	DeltaChunks  uint64    `json:"delta_chunks"`
	Milliseconds int64     `json:"milliseconds"`
}

// Run takes a base backup.
func (c *BasePushCmd) Run(g *Globals, b *BaseCmd) error {
	if err := c.run(g, b); err != nil {
		return fmt.Errorf("base push: %w", err)
	}
	return nil
}

func (c *BasePushCmd) check() (compress.Level, repo.DeltaMode, int, error) {
	var level compress.Level
	var delta repo.DeltaMode
	var rate int64
	var err error
	switch {
	case c.Input != "" && c.Input != "-":
		return level, delta, 0, usageError(fmt.Sprintf("%q is not -", c.Input), "a backup comes from the server of --dsn, or from standard input, which is -")
	case c.Input == "-" && (c.DSN != "" || c.IncludeWAL || c.MaxRate != ""):
		return level, delta, 0, usageError("--dsn, --include-wal and --max-rate are for a backup that a server is asked for", "pg_basebackup -X fetch includes the WAL")
	case c.WALTimeout <= 0:
		return level, delta, 0, usageError("--wal-timeout must be more than 0", "gpdedup base push --help")
	}
	if c.Compression != "" {
		if level, err = compress.ParseLevel(c.Compression); err != nil {
			return level, delta, 0, usageError("--compression: "+err.Error(), "")
		}
	}
	if c.Delta != "" {
		if delta, err = repo.ParseDeltaMode(c.Delta); err != nil {
			return level, delta, 0, usageError("--delta: "+err.Error(), "")
		}
	}
	if c.MaxRate != "" {
		if rate, err = size.Parse(c.MaxRate); err != nil || rate < 32<<10 || rate > 1<<30 {
			return level, delta, 0, usageError(fmt.Sprintf("--max-rate %s: 32KiB to 1GiB a second are possible", c.MaxRate), "")
		}
	}
	return level, delta, int(rate >> 10), nil
}

func (c *BasePushCmd) run(g *Globals, b *BaseCmd) (err error) {
	level, delta, rate, err := c.check()
	if err != nil {
		return err
	}
	if level == "" {
		level = g.compression
	}
	if delta == "" {
		delta = g.delta
	}
	r, err := g.openWith("write", level, delta)
	if err != nil {
		return err
	}
	defer r.Close()
	a, err := wal.Open(r, g.Namespace, b.Content)
	if err != nil {
		return err
	}
	ctx := g.Context()
	now := time.Now()
	host, _ := os.Hostname() // only for people to read
	o := base.PushOptions{
		Label: c.Label, Started: now, WALTimeout: c.WALTimeout, MeanChunk: r.MeanChunk(),
		Origin: manifest.Origin{Host: host, Command: "base push", Version: version, Time: now.UTC()},
		Waiting: func(n int) {
			if !g.Quiet {
				say(g.Stderr(), "all data is stored; waiting until %s of WAL is archived", count(n, "segment"))
			}
		},
	}
	if o.Label == "" {
		o.Label = base.DefaultLabel(now)
	}
	if err := base.CheckLabel(a, o.Label); err != nil {
		return err
	}
	var total int64
	if c.Input == "-" {
		in, err := plugin.NewInput(ctx, plugin.Stdin)
		if err != nil {
			return err
		}
		defer in.Close()
		o.Source = base.Archive(in)
	} else {
		server, release, err := c.begin(ctx, a, o.Label, rate)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, release(ctx)) }()
		defer server.Close()
		o.Source, total = server, server.Total
	}
	update, done := g.Progress("base backup "+o.Label, total)
	o.Progress = update
	report, err := base.Push(ctx, r, a, o)
	done()
	if err != nil {
		return err
	}
	g.countBase(b.Content, report)
	if report.MarkLeft != nil {
		say(g.Stderr(), "warning: the backup is stored, but what kept its WAL meanwhile is still there: %v", report.MarkLeft)
	}
	return c.print(g, b, report)
}

// begin has the server begin, and keeps what WAL the backup will need.
func (c *BasePushCmd) begin(ctx context.Context, a *wal.Archive, label string, rate int) (_ *base.Server, release func(context.Context) error, err error) {
	server, err := base.Connect(ctx, c.DSN)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = server.Close() // nothing was begun
		}
	}()
	if !c.IncludeWAL {
		if err := archives(ctx, server, a); err != nil {
			return nil, nil, err
		}
	}
	o := base.BackupOptions{Label: wal.BaseLabelPrefix + label, Checkpoint: c.Checkpoint, WAL: c.IncludeWAL, MaxRate: rate}
	if err := server.Begin(o); err != nil {
		return nil, nil, err
	}
	release = func(context.Context) error { return nil }
	if !c.IncludeWAL {
		if release, err = server.Protect(ctx, a, label); err != nil {
			return nil, nil, err
		}
	}
	return server, release, nil
}

// archives refuses a server whose WAL will never be in the archive: better now than when
// all is stored.
func archives(ctx context.Context, server *base.Server, a *wal.Archive) error {
	const hint = "--include-wal stores the WAL with the backup, without an archive"
	mode, err := server.Setting("archive_mode")
	if err != nil {
		return err
	}
	if mode == "off" {
		return repo.WithHint(errors.New("the server does not archive its WAL (archive_mode is off)"),
			"set archive_mode = on and archive_command to 'gpdedup wal push …', and start the server anew; or "+hint)
	}
	epochs, err := a.Epochs(ctx)
	if err != nil {
		return err
	}
	for _, e := range epochs {
		if e == server.System {
			return nil
		}
	}
	if len(epochs) > 0 {
		return &wal.EpochError{Namespace: a.Namespace, Content: a.Content, System: server.System, Have: epochs}
	}
	return nil // its first file may be on its way
}

func (c *BasePushCmd) print(g *Globals, b *BaseCmd, p *base.PushReport) error {
	report := basePushReport{
		Namespace: g.Namespace, Content: b.Content, Backup: p.Info, Bytes: p.Length, NewBytes: p.Stats.NewRaw,
		StoredBytes: p.Stats.NewStored + uint64(p.ManifestBytes), Chunks: p.Stats.Chunks, NewChunks: p.Stats.NewChunks,
		DeltaChunks: p.Stats.DeltaChunks, Milliseconds: p.Stats.Milliseconds,
	}
	return g.Print(report, func(out io.Writer) {
		say(out, "stored base backup %s: %s in %s, %s new, %s stored; consistent at %s on timeline %d", p.Info.Label,
			formatBytes(p.Info.Bytes), count(p.Info.Files, "file"), formatBytes(report.NewBytes), formatBytes(report.StoredBytes), p.Info.Stop, p.Info.Timeline)
	})
}
