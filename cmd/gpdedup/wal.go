package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/wal"
)

// WalCmd is gpdedup wal.
type WalCmd struct {
	Cluster string `name:"cluster" placeholder:"NAME" help:"The same as --namespace."`
	Content string `name:"content" placeholder:"N" help:"Greenplum's content id, which it puts in place of %c; leave it out elsewhere."`
	PGData  string `name:"pgdata" placeholder:"DIR" help:"The data directory, whose control file tells the cluster; that of the file, or the working directory, if nothing is said."`

	Push      WalPushCmd      `cmd:"" help:"Put a file into the archive: for archive_command."`
	PushAhead WalPushAheadCmd `cmd:"" name:"push-ahead" hidden:"" help:"What push starts."`
	Fetch     WalFetchCmd     `cmd:"" help:"Get a file out of the archive: for restore_command."`
	Prefetch  WalPrefetchCmd  `cmd:"" hidden:"" help:"What fetch leaves behind."`
	List      WalListCmd      `cmd:"" help:"What the archive holds, and what is missing."`
	Verify    WalVerifyCmd    `cmd:"" help:"Check the archive: damage, gaps, histories, base backups."`
	Check     WalCheckCmd     `cmd:"" help:"Have the server archive a segment, and read it back."`
	Cleanup   WalCleanupCmd   `cmd:"" help:"Remove WAL that nobody needs: for archive_cleanup_command."`
	Point     WalPointCmd     `cmd:"" name:"restore-point" help:"Record a restore point of a Greenplum cluster."`

	everyContent bool // no content id was given
}

// settle makes --cluster what it is another name of.
func (c *WalCmd) settle(g *Globals) error {
	if c.Content == "" {
		c.everyContent, c.Content = true, wal.DefaultContent
	}
	return settleCluster(g, "wal", c.Cluster)
}

func settleCluster(g *Globals, command, cluster string) error {
	switch {
	case cluster == "" || cluster == g.Namespace:
	case g.Namespace != "":
		return usageError(command+": both --cluster and --namespace are given, and they differ", "they mean the same: give one of them")
	default:
		g.Namespace = cluster
	}
	return nil
}

// joinContent makes one word of --content and a content id, which may be negative: -1
// would be taken for a flag.
func joinContent(args []string) []string {
	if len(args) == 0 || args[0] != "wal" && args[0] != "base" {
		return args
	}
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if arg == "--content" && i+1 < len(args) {
			i++
			arg += "=" + args[i]
		}
		out = append(out, arg)
	}
	return out
}

// openWAL opens the archive for operations that are no server's command.
func (c *WalCmd) openWAL(g *Globals, operation string) (*repo.Repo, *wal.Archive, error) {
	g.CacheDir = "" // the index is of no use here
	r, err := g.Open(operation)
	if err != nil {
		return nil, nil, err
	}
	a, err := wal.Open(r, g.Namespace, c.Content)
	if err != nil {
		return nil, nil, err
	}
	return r, a, nil
}

// patientStorage opens what --repo names for a command that a server waits for: no
// request hangs for long, and what may pass is tried again.
func patientStorage(g *Globals) (storage.Storage, error) {
	st, err := g.openStorage()
	if err != nil {
		return nil, err
	}
	return storage.NewRetry(wal.Timed(st, wal.RequestLimit), storage.Policy{Attempts: 4, Notify: func(string, string, int, error) {
		g.metrics.Add(metrics.Retries, 1)
	}}), nil
}

// openPatient opens the repository in st without what only streams need. The objects with
// the keys are going to be read then.
func openPatient(ctx context.Context, g *Globals, st storage.Storage, operation string, keys ...string) (*repo.Repo, error) {
	return repo.Open(ctx, askAhead(ctx, st, g.secret, keys...), operation, repo.Options{
		Secret: g.secret, Compression: g.compression, Concurrency: g.concurrency, Version: version, Log: g.log,
	})
}

// within runs f and returns its error, or that of ctx soon after that has ended,
// whatever f hangs in.
func within(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return context.Cause(ctx)
	}
}

// cores returns how many cores may be used.
func (g *Globals) cores() int {
	if g.concurrency > 0 {
		return g.concurrency
	}
	return min(runtime.GOMAXPROCS(0), 8)
}

// walCache returns a directory below the cache for one purpose, or "" if there is no
// cache.
func walCache(g *Globals, purpose string) string {
	if g.CacheDir == "" {
		return ""
	}
	return filepath.Join(g.CacheDir, "wal", purpose)
}

// dataDir returns the data directory that a command is run for, or "" if there is
// none to be seen.
func (c *WalCmd) dataDir() string {
	if c.PGData != "" {
		return c.PGData
	}
	if _, err := os.Stat(wal.ControlPath(".")); err == nil {
		return "."
	}
	return ""
}
