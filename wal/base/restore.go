package base

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// RestoreOptions say where a backup goes.
type RestoreOptions struct {
	Dir      string            // the data directory; must be empty, or not be there
	Mapping  map[string]string // where tablespaces go, by their oid or the path where they were
	Settings Settings
	Progress func(bytes int64) // may be nil
}

// Restore makes a data directory of the backup that a plan begins with. When it returns
// nil, every file is durable and what the server said it was, and the settings of the
// recovery are there. After an error no server starts from what is there.
func Restore(ctx context.Context, r *repo.Repo, p *Plan, o RestoreOptions) error {
	server, err := readServerManifest(ctx, r, p.Backup.Manifest, p.Backup.Info)
	if err != nil {
		return fmt.Errorf("restore base backup %s: %w", p.Backup.Name.Item, err)
	}
	d, err := newDirectory(o.Dir, p.Backup.Info, o.Mapping)
	if err != nil {
		return err
	}
	if err := expand(ctx, r, p.Backup, server, d, o.Progress); err != nil {
		return repo.WithHint(fmt.Errorf("restore base backup %s: %w", p.Backup.Name.Item, err),
			"what is in "+d.root+" is not complete and no server starts from it: remove it before the next try")
	}
	conf, signal := o.Settings.render(p)
	if err := d.finish(conf, signal); err != nil {
		return fmt.Errorf("restore base backup %s: %w", p.Backup.Name.Item, err)
	}
	return nil
}

// expand reads a backup, checks it, and gives its members to a place.
func expand(ctx context.Context, r *repo.Repo, b *Backup, server *serverManifest, to place, progress func(int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, in := io.Pipe()
	stored := make(chan error, 1)
	go func() {
		err := r.RestoreManifest(ctx, b.Manifest, in, repo.RestoreOptions{Progress: progress})
		_ = in.CloseWithError(err) // never fails; without an error it is the end
		stored <- err
	}()
	err := unpack(ctx, out, server, to)
	_ = out.CloseWithError(errStopped) // never fails
	if rerr := <-stored; rerr != nil && !errors.Is(rerr, errStopped) {
		return rerr // the cause; what unpack says follows from it
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// errStopped: nobody reads on.
var errStopped = errors.New("stopped")

// RestoreTar writes the tar archive of a backup. Tablespaces are directories in it, below
// pg_tblspc, which a server takes with allow_in_place_tablespaces, or once they were moved
// and links are in their place.
func RestoreTar(ctx context.Context, r *repo.Repo, b *Backup, w io.Writer, progress func(int64)) error {
	server, err := readServerManifest(ctx, r, b.Manifest, b.Info)
	if err != nil {
		return fmt.Errorf("restore base backup %s: %w", b.Name.Item, err)
	}
	// Checked on its way; every chunk is before it goes out.
	out, in := io.Pipe()
	checked := make(chan error, 1)
	go func() {
		err := unpack(ctx, out, server, nowhere{})
		_ = out.CloseWithError(errors.Join(err, errStopped)) // never fails
		checked <- err
	}()
	err = r.RestoreManifest(ctx, b.Manifest, io.MultiWriter(w, in), repo.RestoreOptions{Progress: progress})
	_ = in.CloseWithError(err) // never fails
	cerr := <-checked
	if err == nil || errors.Is(err, errStopped) {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("restore base backup %s: %w", b.Name.Item, err)
	}
	return nil
}

// Verify reads every byte of a backup and checks it against backup_manifest.
func Verify(ctx context.Context, r *repo.Repo, b *Backup, progress func(int64)) error {
	server, err := readServerManifest(ctx, r, b.Manifest, b.Info)
	if err == nil {
		err = expand(ctx, r, b, server, nowhere{}, progress)
	}
	if err != nil {
		return fmt.Errorf("base backup %s: %w", b.Name.Item, err)
	}
	return nil
}

// VerifyWAL reads the WAL that makes a backup consistent, unless the backup has it, and
// returns how many segments that were.
func VerifyWAL(ctx context.Context, a *wal.Archive, info *Info) (int, error) {
	if info.WALIncluded {
		return 0, nil
	}
	epoch, err := info.Epoch()
	if err != nil {
		return 0, err
	}
	segments, err := info.Segments()
	if err != nil {
		return 0, err
	}
	for _, s := range segments {
		if _, err := a.Send(ctx, epoch, s, io.Discard); err != nil {
			return 0, fmt.Errorf("its WAL: %w", err)
		}
	}
	return len(segments), nil
}
