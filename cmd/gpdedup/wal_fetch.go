package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// WalFetchCmd is gpdedup wal fetch.
type WalFetchCmd struct {
	File     string        `arg:"" help:"The file's name: what the server puts in place of %f."`
	Dest     string        `arg:"" help:"Where it is to appear: what the server puts in place of %p."`
	Patience time.Duration `name:"patience" default:"60s" placeholder:"TIME" help:"Keep trying for that long while the repository is away, or the file is missing among later ones. A standby is told at once."`
	Prefetch string        `name:"prefetch" default:"256MiB" placeholder:"SIZE" help:"Fetch that much ahead, in the background; 0 for nothing."`
	SpoolDir string        `name:"spool-dir" placeholder:"DIR" help:"Where to keep what was fetched ahead, outside the data directory; below the cache directory if nothing is said. ($$GPDEDUP_SPOOL_DIR)"`
}

// Help shows examples.
func (WalFetchCmd) Help() string {
	return `In postgresql.conf of a server that is to recover (recovery.signal), or to follow
(standby.signal), and for pg_rewind --restore-target-wal:

	restore_command = 'gpdedup wal fetch --cluster main %f %p'

and the repository and its key in the environment of the server, or --repo and
--key-file. For Greenplum, once for all segments:

	restore_command = 'gpdedup wal fetch --cluster main --content %c %f %p'

The exit code is 0 when the file is there, whole and verified, and 1 only when it is
proved that the archive does not have it and may end there. Everything else, which must
not make a server in recovery begin a timeline of its own, is 200 (cannot decide:
repository away, wrong configuration), 201 (damaged), 202 (a hole in the archive),
203 (another cluster's) or 204 (the program itself failed), and ends by the signal
that ended it. While standby.signal is there, any failure is 1: a standby asks again.
`
}

// Run fetches a file.
func (c *WalFetchCmd) Run(g *Globals, w *WalCmd) error {
	err := c.fetch(g, w)
	var end *wal.EndError
	if errors.As(err, &end) && g.screen.Terminal() {
		_, _ = fmt.Fprintf(g.Stderr(), "gpdedup: %v\n", end) // for who typed this; a server's log is no terminal
	}
	if err != nil {
		return fmt.Errorf("wal fetch: %w", err)
	}
	return nil
}

func (c *WalFetchCmd) fetch(g *Globals, w *WalCmd) error {
	f, err := c.prepare(g, w)
	if err != nil {
		return err
	}
	// Nothing that this may hang in keeps the server waiting for ever.
	ctx, cancel := context.WithTimeoutCause(g.Context(), c.Patience+hangLimit, errors.New("the repository does not answer"))
	defer cancel()
	if err := within(ctx, f.Run); err != nil {
		return err
	}
	g.metrics.Add(metrics.WALFetched, 1, w.Content)
	return nil
}

// prepare returns what the command line asks for.
func (c *WalFetchCmd) prepare(g *Globals, w *WalCmd) (*wal.Fetch, error) {
	limit, err := c.settle()
	if err != nil {
		return nil, err
	}
	f := &wal.Fetch{
		File: c.File, Dest: c.Dest, Patience: c.Patience, PGData: w.PGData,
		Open: func(ctx context.Context, system wal.SystemID, name wal.Name) (*wal.Archive, io.Closer, error) {
			return openForFetch(ctx, g, w, system, name)
		},
	}
	if limit > 0 {
		f.OpenSpool = func(system wal.SystemID, d wal.DataDir) (*wal.Spool, error) { return c.openSpool(g, w, system, d) }
		// A session of its own: neither a signal to the server's processes, nor its end, has to do with it.
		f.StartPrefetch = func() error {
			return startBeside("fetch", prefetchCommand, nil, &syscall.SysProcAttr{Setsid: true})
		}
	}
	return f, nil
}

// hangLimit is how long beyond its patience a fetch may take.
const hangLimit = 30 * time.Second

// settle completes and checks the flags, and returns how many bytes to fetch ahead.
func (c *WalFetchCmd) settle() (int64, error) {
	if c.Patience < 0 {
		return 0, usageError("--patience must not be negative", "gpdedup wal fetch --help")
	}
	limit, err := size.Parse(c.Prefetch)
	if err != nil {
		return 0, usageError(fmt.Sprintf("--prefetch: %v", err), "as in --prefetch 256MiB")
	}
	if c.SpoolDir == "" {
		c.SpoolDir = os.Getenv("GPDEDUP_SPOOL_DIR")
	}
	return limit, nil
}

// openForFetch opens the archive of a cluster whose files are going to be asked for. What
// is asked for first needs not wait until the repository is open.
func openForFetch(ctx context.Context, g *Globals, w *WalCmd, system wal.SystemID, files ...wal.Name) (*wal.Archive, io.Closer, error) {
	st, err := patientStorage(g)
	if err != nil {
		return nil, nil, err
	}
	var keys []string
	for _, name := range files {
		if key, err := wal.ObjectKey(g.Namespace, w.Content, system, name); err == nil && system != 0 {
			keys = append(keys, key)
		}
	}
	r, err := openPatient(ctx, g, st, "read", keys...)
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	a, err := wal.Open(r, g.Namespace, w.Content)
	if err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return a, r, nil
}

func (c *WalFetchCmd) openSpool(g *Globals, w *WalCmd, system wal.SystemID, d wal.DataDir) (*wal.Spool, error) {
	dir := c.SpoolDir
	if dir == "" {
		if dir = walCache(g, "spool"); dir == "" {
			return nil, errors.New("no cache directory")
		}
	}
	location := g.Repo
	if !strings.Contains(location, ":") {
		var err error
		if location, err = filepath.Abs(location); err != nil {
			return nil, err
		}
	}
	s, err := wal.OpenSpool(dir, location, g.Namespace, w.Content, system, d)
	if errors.Is(err, repo.ErrUsage) && c.SpoolDir == "" {
		err = errors.New("the cache directory is in the data directory") // then there is none
	}
	return s, err
}

// prefetchCommand is the command that the process performs that fetches ahead.
const prefetchCommand = "prefetch"

// WalPrefetchCmd is what wal fetch leaves behind. It takes the same command line.
type WalPrefetchCmd struct{ WalFetchCmd }

// Help says what it is.
func (WalPrefetchCmd) Help() string {
	return `Nobody needs to call it:

	gpdedup wal prefetch --cluster main 000000010000000000000001 pg_wal/RECOVERYXLOG
`
}

// Run fetches ahead.
func (c *WalPrefetchCmd) Run(g *Globals, w *WalCmd) error {
	limit, err := c.settle()
	if err != nil {
		return err
	}
	d, err := wal.DataDirFor(c.Dest, w.PGData)
	if err != nil {
		return err
	}
	system, err := d.System()
	if err != nil {
		return err
	}
	spool, err := c.openSpool(g, w, system, d)
	if err != nil {
		return err
	}
	a, closer, err := openForFetch(g.Context(), g, w, system, spool.Next()...)
	if err != nil {
		return err
	}
	defer closer.Close()
	if call, ok := answered(g, quick.Fetch); ok {
		_ = call.LeaveFetch(spool.Dir(), string(d), uint64(system)) // else each call takes some milliseconds longer
	}
	// The server's directory must not be held on to.
	if err := os.Chdir("/"); err != nil {
		return err
	}
	p := &wal.Prefetcher{Archive: a, System: system, DataDir: d, Spool: spool, Limit: limit}
	return p.Run(g.Context())
}
