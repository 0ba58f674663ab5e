package backups

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/gpdedup/gpdedup/repo"
)

// tempPrefix begins the names of files that are being written. None of gpbackup's
// patterns matches it.
const tempPrefix = ".gpdedup-export-"

// file is a file that appears under its name only when it is whole.
type file struct {
	*os.File
	path string
	done bool
}

// mode is what gpbackup gives its files: read-only what it writes itself
// (WriteToFileAndMakeReadOnly), owner only what a segment's COPY writes, whose
// umask is 077.
func mode(k Kind) fs.FileMode {
	if k == TableData || k == SegmentData {
		return 0o600
	}
	return 0o444
}

func create(path string, k Kind) (*file, error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*")
	if err != nil {
		return nil, err
	}
	out := &file{File: f, path: path}
	if err := f.Chmod(mode(k)); err != nil {
		out.discard()
		return nil, err
	}
	return out, nil
}

// commit puts the file under its name. It does not sync the directory.
func (f *file) commit() error {
	// Before the name: a crash must not leave a file that is there and short.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return err
	}
	f.done = true
	return nil
}

// discard removes a file that was not committed.
func (f *file) discard() {
	if !f.done {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
}

func writeFile(path string, k Kind, data []byte) error {
	f, err := create(path, k)
	if err != nil {
		return err
	}
	defer f.discard()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.commit()
}

// config writes a config.yaml without its plugin, and reads it again to see that
// nothing else has changed.
func (e *exporter) config(ctx context.Context, w *work, out *file) (bool, error) {
	var before *Config
	err := readStream(ctx, e.r, w.name, false, func(in io.Reader) error {
		return withoutPlugin(in, out)
	})
	if err == nil {
		err = readStream(ctx, e.r, w.name, false, func(in io.Reader) (err error) {
			before, err = ReadConfig(in)
			return err
		})
	}
	if err != nil {
		return false, e.judge(w.name, err)
	}
	e.advance(int64(w.length))
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	after, err := ReadConfig(out)
	if err != nil {
		return false, err
	}
	before.Plugin, before.PluginVersion = "", ""
	if !reflect.DeepEqual(before, after) {
		return false, fmt.Errorf("edit %s: %w: the plugin cannot be taken out without changing something else", w.name, ErrMalformed)
	}
	return true, nil
}

// withoutPlugin copies a config.yaml with empty plugin and pluginversion, which is
// what gpbackup writes without a plugin. gprestore refuses to restore a backup
// from a directory that has one (validateBackupFlagPluginCombinations). All other
// bytes stay as they are.
func withoutPlugin(in io.Reader, out io.Writer) error {
	var inKey string
	return eachLine(in, func(key string, line []byte) error {
		first := key != inKey
		inKey = key
		if key == "plugin" || key == "pluginversion" {
			switch {
			case first:
				line = []byte(key + ": \"\"" + string(line[len(bytes.TrimRight(line, "\r\n")):]))
			case line[0] == ' ':
				return nil // a long value went on here
			}
		}
		if _, err := out.Write(line); err != nil {
			return &repo.OutputError{Err: err}
		}
		return nil
	})
}
