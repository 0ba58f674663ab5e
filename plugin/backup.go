package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gpdedup/gpdedup/repo"
)

// BackupData stores standard input under the name that path means.
func (p *Process) BackupData(ctx context.Context, configPath, path string) error {
	s, name, err := p.openStream(ctx, configPath, "write", path)
	if err != nil {
		return err
	}
	defer s.Close()
	widen(stdin)
	in, err := newInput(ctx, stdin)
	if err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	defer in.Close()
	src := newWrapper(name.Item, in)
	defer src.Close()
	return p.store(ctx, s, name, path, src, func() error { return errors.Join(src.verdict(), p.mayPublish()) })
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
	return p.store(ctx, s, name, path, f, func() error {
		p.signals.settle()
		if p.signals.signal() != 0 {
			return errInterrupted
		}
		return nil
	})
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
	s, err := p.openWith(ctx, c, operation)
	return s, name, err
}

func (p *Process) store(ctx context.Context, s *session, name repo.Name, path string, src io.Reader, ready func() error) error {
	report, err := s.Write(ctx, name, src, repo.WriteOptions{
		Origin:        p.origin(path),
		Previous:      s.previous(ctx, name, p.getenv("GP_DATABASE")),
		BeforePublish: ready,
	})
	if err != nil {
		return err
	}
	s.log.Info("stored", "stream", name.String(), "bytes", report.Length, "chunks", report.Stats.Chunks,
		"new_chunks", report.Stats.NewChunks, "new_bytes", report.Stats.NewRaw,
		"stored_bytes", report.Stats.NewStored+uint64(report.ManifestBytes),
		"again", report.AlreadyStored, "ms", report.Stats.Milliseconds)
	return nil
}
