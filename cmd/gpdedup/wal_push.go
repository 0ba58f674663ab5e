package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// WalPushCmd is gpdedup wal push.
type WalPushCmd struct {
	Path     string        `arg:"" complete:"file" help:"The file: what the server puts in place of %p."`
	NewEpoch bool          `name:"new-epoch" help:"Begin to archive this cluster although the archive holds the WAL of another."`
	Timeout  time.Duration `name:"timeout" default:"60s" placeholder:"TIME" help:"Give up after that long; the server tries again."`
	NoAhead  bool          `name:"no-ahead" help:"Push this file only, not what the server will ask for next."`
}

// Help shows examples.
func (WalPushCmd) Help() string {
	return `The exit code is 0 when the file is durable in the repository. While more files are marked
as ready, a process beside the calls pushes them, several at a time, so that a backlog drains
quickly. A file that is in the archive already is a success if it has the same bytes; if
not, the exit code is 3, and nothing is overwritten.

In postgresql.conf:

	archive_mode = on
	archive_command = 'gpdedup wal push --cluster main %p'

and the repository and its key in the environment of the server, or --repo and
--key-file. For Greenplum, once for all segments:

	archive_command = 'gpdedup wal push --cluster main --content %c %p'

By hand, after initdb or pg_upgrade made a new cluster in the place of an old one:

	cd $PGDATA && gpdedup wal push --cluster main --new-epoch pg_wal/000000010000000000000001
`
}

// pushAheadCommand is the command that the process performs that pushes ahead.
const pushAheadCommand = "push-ahead"

// isPush reports whether the command line is that of a server's archive_command, or of the
// process that pushes ahead for it.
func isPush(args []string) bool {
	return len(args) > 1 && args[0] == "wal" && (args[1] == "push" || args[1] == pushAheadCommand)
}

// fewCollections keeps the process, which is short, from collecting its garbage as long
// as that does not take much memory: it takes a tenth of the time of a push.
func fewCollections() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(256 << 20)
	}
}

// Run puts a file into the archive.
func (c *WalPushCmd) Run(g *Globals, w *WalCmd) error {
	g.signals.Quiet()
	fewCollections()
	if c.Timeout <= 0 {
		return usageError("wal push: --timeout must be more than 0", "gpdedup wal push --help")
	}
	ctx, cancel := context.WithTimeoutCause(g.Context(), c.Timeout, fmt.Errorf("gave up after %s (--timeout)", c.Timeout))
	defer cancel()
	p, err := c.pusher(g, w)
	if err == nil {
		err = within(ctx, func(ctx context.Context) error { return p.Push(ctx, c.Path) })
	}
	if err != nil {
		return fmt.Errorf("wal push: %w", err)
	}
	g.countPushed(w.Content, c.Path, w.PGData)
	return nil
}

// pusher returns what the command line asks for.
func (c *WalPushCmd) pusher(g *Globals, w *WalCmd) (*wal.Pusher, error) {
	st, err := patientStorage(g)
	if err != nil {
		return nil, err
	}
	level := g.compression
	if level == "" {
		level = compress.Fastest // half of the time, and still less space than zstd takes without prediction
	}
	packer, err := wal.NewPacker(level, g.cores(), version)
	if err != nil {
		return nil, err
	}
	p := &wal.Pusher{
		Namespace: g.Namespace, Content: w.Content, PGData: w.PGData, NewEpoch: c.NewEpoch, Packer: packer,
		Storage: st,
		Open:    func(ctx context.Context) (*repo.Repo, error) { return openPatient(ctx, g, st, "write") },
	}
	if !c.NoAhead {
		p.Records = walCache(g, "pushed")
		p.StartAhead = func() (io.WriteCloser, error) { return c.startAhead(w.PGData) }
	}
	return p, nil
}

// startAhead starts the process that pushes ahead, and returns what it is told by. It is
// in the group of the server's process that archives: what ends that at once, ends this.
func (c *WalPushCmd) startAhead(pgdata string) (io.WriteCloser, error) {
	dir, err := wal.DataDirFor(c.Path, pgdata)
	if err != nil {
		return nil, err
	}
	if dir.FirstProcess() {
		return nil, errors.New("the server would take it for one of its own")
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	if err := startBeside("push", pushAheadCommand, read, nil); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return write, nil
}

// WalPushAheadCmd is what wal push starts. It takes the same command line.
type WalPushAheadCmd struct{ WalPushCmd }

// Help says what it is.
func (WalPushAheadCmd) Help() string {
	return `Nobody needs to call it:

	gpdedup wal push-ahead --cluster main pg_wal/000000010000000000000001
`
}

// Run pushes ahead.
func (c *WalPushAheadCmd) Run(g *Globals, w *WalCmd) error {
	g.signals.Quiet()
	fewCollections()
	p, err := c.pusher(g, w)
	if err != nil {
		return err
	}
	p.Recorded = func(dir string) { c.leaveTicket(g, p.Storage, dir) }
	return p.PushAhead(g.Context(), c.Path, os.Stdin)
}

// leaveTicket has the server's calls answered early whose files there are records of in dir.
func (c *WalPushAheadCmd) leaveTicket(g *Globals, st storage.Storage, dir string) {
	directory, ok := storage.As[interface{ Path() (string, bool) }](st)
	if !ok {
		return
	}
	call, ok := answered(g, quick.Push)
	if !ok {
		return
	}
	path, local := directory.Path()
	records, err := filepath.Abs(dir)
	if !local || err != nil {
		call.Forget() // what was left when another file system was there
		return
	}
	_ = call.LeavePush(records, path) // else each call takes some milliseconds longer
}
