package backups

import (
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// wrap returns a writer that puts a stream back into the container it came in.
// The bytes are not those that came, but what they decompress to is. Close ends
// the container; it must not be called after an error, so that whoever reads the
// result sees that it is cut short.
func wrap(w io.Writer, as manifest.Wrapping) (io.WriteCloser, error) {
	switch as {
	case manifest.Plain:
		return plainCloser{w}, nil
	case manifest.Gzip:
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	case manifest.Zstd:
		// One goroutine, or many exports at once would take all cores; an empty
		// stream needs its frame too, or zstd -d finds nothing.
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
	}
	return nil, fmt.Errorf("wrap stream: wrapping %d: %w", as, repo.ErrNewer)
}

type plainCloser struct{ io.Writer }

func (plainCloser) Close() error { return nil }

// restoreWrapped writes the stream of m to w as the file that it was.
func restoreWrapped(ctx context.Context, r *repo.Repo, m *manifest.Manifest, w io.Writer, progress func(int64)) error {
	out, err := wrap(w, m.Wrapping)
	if err != nil {
		return err
	}
	if err := r.RestoreManifest(ctx, m, out, repo.RestoreOptions{Progress: progress}); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return &repo.OutputError{Err: err}
	}
	return nil
}

// Get writes one stream of a backup to w, as gpbackup stored it: what was
// compressed then is compressed again.
func Get(ctx context.Context, r *repo.Repo, namespace, timestamp, name string, w io.Writer) error {
	m, err := r.Stream(ctx, streamName(namespace, timestamp, name))
	if err != nil {
		return fmt.Errorf("get stream: %w", err)
	}
	if err := restoreWrapped(ctx, r, m, w, nil); err != nil {
		return fmt.Errorf("get stream: %s/%s: %w", timestamp, name, err)
	}
	return nil
}

func streamName(namespace, timestamp, name string) repo.Name {
	return repo.Name{Class: repo.Backup, Namespace: namespace, Group: timestamp, Item: name}
}
