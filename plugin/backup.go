package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/wrap"
)

// BackupData stores standard input under the name that path means.
func (p *Process) BackupData(ctx context.Context, configPath, path string) error {
	s, name, err := p.openStream(ctx, configPath, "write", path)
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := NewInput(ctx, Stdin)
	if err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	defer in.Close()
	var src wrapped = wrap.NewReader(name.Item, in)
	if s.config.KeepWrapping {
		src = wrap.NewChecker(name.Item, in)
	}
	defer src.Close()
	err = p.store(ctx, s, name, path, repo.WriteOptions{Wrapping: src.Wrapping, BeforePublish: p.mayPublish}, src)
	var broken *wrap.BrokenError
	switch {
	case errors.Is(err, wrap.ErrBeyond):
		err = repo.WithHint(err, "the option 'transcode: off' has compressed streams stored as they come")
	case errors.As(err, &broken):
		err = repo.WithHint(err, "see what ended the program in front of gpdedup, on the host and in the server's log")
	}
	return err
}

// wrapped is a stream that may be inside of a container. It ends with an error if the
// container is not whole.
type wrapped interface {
	io.ReadCloser
	// Wrapping says, at the end, what was taken off.
	Wrapping() (as manifest.Wrapping, tail uint64)
}

// BackupFile stores the file at path. It leaves the file as it is: gpbackup changes
// its mode afterwards.
func (p *Process) BackupFile(ctx context.Context, configPath, path string) error {
	s, name, err := p.openStream(ctx, configPath, "write", path)
	if err != nil {
		return err
	}
	defer s.Close()
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	defer f.Close()
	// A file is no stream that somebody compressed on the way: it comes back as it is.
	err = p.store(ctx, s, name, path, repo.WriteOptions{BeforePublish: func() error {
		p.signals.settle()
		if p.signals.signal() != 0 {
			return errInterrupted
		}
		return nil
	}}, f)
	if err == nil {
		p.countVerdict(name, f)
	}
	return err
}

// openStream is how every command about one stream begins.
func (p *Process) openStream(ctx context.Context, configPath, operation, path string) (*session, repo.Name, error) {
	c, err := p.configure(configPath)
	if err != nil {
		return nil, repo.Name{}, err
	}
	name, err := StreamName(c.Namespace, path)
	if err != nil {
		return nil, repo.Name{}, fmt.Errorf("%s: %w", p.command, err)
	}
	// One of hundreds of processes: the setup hook of this host has just read all that
	// it takes to open the repository.
	c.reuse = true
	s, err := p.openWith(ctx, c, operation)
	return s, name, err
}

func (p *Process) store(ctx context.Context, s *session, name repo.Name, path string, o repo.WriteOptions, src io.Reader) error {
	o.Origin = p.origin(path)
	o.Previous = s.previous(ctx, name, p.getenv("GP_DATABASE"))
	report, err := s.Write(ctx, name, src, o)
	if err != nil {
		return err
	}
	p.metrics.Stored(metrics.Stream{
		Streams: 1, Bytes: report.Length, New: report.Stats.NewRaw, Stored: report.Stats.NewStored + uint64(report.ManifestBytes),
		Chunks: report.Stats.Chunks, NewChunks: report.Stats.NewChunks, DeltaChunks: report.Stats.DeltaChunks,
	})
	s.log.Info("stored", "stream", name.String(), "bytes", report.Length, "chunks", report.Stats.Chunks,
		"new_chunks", report.Stats.NewChunks, "new_bytes", report.Stats.NewRaw,
		"stored_bytes", report.Stats.NewStored+uint64(report.ManifestBytes),
		"again", report.AlreadyStored, "ms", report.Stats.Milliseconds)
	return nil
}
