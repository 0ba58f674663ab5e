package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gpdedup/gpdedup/repo"
)

// RestoreData writes the stream that path means to standard output.
func (p *Process) RestoreData(ctx context.Context, configPath, path string) error {
	return p.restoreTo(ctx, configPath, path, nil)
}

// RestoreDataSubset writes the ranges of the stream that the offsets file lists.
func (p *Process) RestoreDataSubset(ctx context.Context, configPath, path, offsetsPath string) error {
	ranges, err := readOffsets(offsetsPath)
	if err != nil {
		return err
	}
	return p.restoreTo(ctx, configPath, path, ranges)
}

func (p *Process) restoreTo(ctx context.Context, configPath, path string, ranges []repo.Range) error {
	if err := CheckOpen(Stdout); err != nil {
		return fmt.Errorf("%s: %w", p.command, err)
	}
	s, name, err := p.openStream(ctx, configPath, "read", path)
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := s.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	widen(Stdout)
	var sent int64
	err = s.RestoreManifest(ctx, m, p.stdout, repo.RestoreOptions{
		Ranges: ranges, Progress: func(n int64) { sent = n },
	})
	if err == nil {
		// Where standard output is a file, closing it is what says that it is there.
		if err = p.stdout.Close(); err != nil {
			err = &repo.OutputError{Err: err}
		}
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	p.metrics.Restored(1, uint64(sent))
	s.log.Info("restored", "stream", name.String(), "bytes", sent)
	return nil
}

// RestoreFile writes the stream that path means to the file at path, with mode 0644.
// The file appears whole or not at all, and replaces one that was there.
func (p *Process) RestoreFile(ctx context.Context, configPath, path string) error {
	s, name, err := p.openStream(ctx, configPath, "read", path)
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := s.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	err = writeFile(path, func(f *os.File) error { return s.RestoreManifest(ctx, m, f, repo.RestoreOptions{}) })
	if err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	p.metrics.Restored(1, m.Length)
	s.log.Info("restored", "stream", name.String(), "bytes", m.Length)
	return nil
}

// writeFile makes the file with what write writes.
func writeFile(path string, write func(*os.File) error) error {
	dir := filepath.Dir(path)
	if err := makeParents(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".gpdedup-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = write(f)
	if err == nil {
		// Whatever the umask is: who restores is not always who reads.
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// Only now does the name change hands: a crash before leaves the old file.
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeParents makes dir and what is missing above it, with mode 0755 whatever the
// umask is.
func makeParents(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeParents(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	if err == nil {
		return os.Chmod(dir, 0o755)
	}
	if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
		return nil
	}
	return err
}
