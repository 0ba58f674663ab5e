package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// world is the demo's directory: the repository, its key, the database and what gpbackup keeps beside it.
type world struct {
	set        settings
	dir        string
	repository string
	keyFile    string
	version    string // of the plugin
	env        []string
	db         *database

	// the last backup
	timestamp string
	streams   []stream
	files     map[string]string // name: text
}

// figures are those of one backup or restore.
type figures struct {
	timestamp string
	streams   int
	logical   int64 // bytes of text
	stored    int64 // by which the repository grew
	zstd      int64 // the same streams by zstd -1; 0 if it is not installed
	took      time.Duration
}

// newWorld makes the repository and the database.
func newWorld(ctx context.Context, set settings, dir string) (*world, error) {
	w := &world{set: set, dir: dir, repository: filepath.Join(dir, "repository"), keyFile: filepath.Join(dir, "gpdedup.key")}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GPDEDUP_") {
			w.env = append(w.env, v)
		}
	}
	w.env = append(w.env, "GPDEDUP_CACHE_DIR="+filepath.Join(dir, "cache"))
	for _, sub := range []string{"tmp", "tables"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	if _, err := w.admin(ctx, "repo", "init"); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, set.exe, "--version").Output()
	words := strings.Fields(string(out))
	if err == nil && len(words) != 3 {
		err = fmt.Errorf("%q is not three words", out)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", set.exe, err)
	}
	w.version = words[2]
	w.db = newDatabase(set.size, set.segments)
	return w, nil
}

// admin runs one of gpdedup's own commands on the repository, and says how long that took.
func (w *world) admin(ctx context.Context, args ...string) (time.Duration, error) {
	begin := time.Now()
	cmd := exec.CommandContext(ctx, w.set.exe, append(args, "--repo", w.repository, "--key-file", w.keyFile)...)
	cmd.Env = w.env
	progress("%s", strings.Join(cmd.Args, " "))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("run gpdedup %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return time.Since(begin), nil
}

// session begins a run of gpbackup or gprestore: it copies the configuration to where that program would.
func (w *world) session(stamp, root, version string) (*session, error) {
	s := &session{exe: w.set.exe, timestamp: w.timestamp, root: filepath.Join(w.dir, root), segments: w.set.segments, env: w.env}
	s.config = filepath.Join(w.dir, "tmp", stamp+"_gpdedup.yaml")
	text := pluginYAML(w.set.exe, version, map[string]string{
		"repository": w.repository,
		"key_file":   w.keyFile,
		"cache_dir":  filepath.Join(w.dir, "cache"),
	})
	return s, errors.Join(os.WriteFile(s.config, []byte(text), 0o644), s.makeDirs())
}

// backUp is one night.
func (w *world) backUp(ctx context.Context, day int) (figures, error) {
	w.timestamp = time.Date(2026, 1, 5+day, 21, 0, 0, 0, time.UTC).Format("20060102150405")
	fig := figures{timestamp: w.timestamp}
	var err error
	if w.streams, err = w.db.write(ctx, filepath.Join(w.dir, "tables")); err != nil {
		return fig, err
	}
	for _, s := range w.streams {
		fig.streams++
		fig.logical += s.size
	}
	progress("day %d: %d tables on %d segments, %s of text", day+1, len(w.db.tables), w.set.segments, megabytes(fig.logical))
	if fig.zstd, err = zstdSize(ctx, w.streams); err != nil {
		return fig, err
	}
	s, err := w.session(w.timestamp, "cluster", "")
	if err != nil {
		return fig, err
	}
	if err := w.writeFiles(s, fig); err != nil {
		return fig, err
	}
	before, err := diskUse(w.repository)
	if err != nil {
		return fig, err
	}
	begin := time.Now()
	if err := w.backUpDatabase(ctx, s); err != nil {
		return fig, err
	}
	fig.took = time.Since(begin)
	after, err := diskUse(w.repository)
	fig.stored = after - before
	progress("day %d: backed up in %s", day+1, seconds(fig.took))
	return fig, err
}

// backUpDatabase is what gpbackup does.
func (w *world) backUpDatabase(ctx context.Context, s *session) error {
	if err := s.hook(ctx, "setup_plugin_for_backup"); err != nil {
		return err
	}
	err := w.eachStream(ctx, func(ctx context.Context, st stream) error { return s.copyOut(ctx, st, w.set.gzip) })
	if err != nil {
		return err
	}
	if err := s.files(ctx, "backup_file", "metadata.sql", "toc.yaml", "plugin_config.yaml", "config.yaml", "report"); err != nil {
		return err
	}
	return s.hook(ctx, "cleanup_plugin_for_backup")
}

// eachStream calls f for every table, several at once, each on all segments at once.
func (w *world) eachStream(ctx context.Context, f func(context.Context, stream) error) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(w.set.jobs)
	for i := 0; i < len(w.streams); i += w.set.segments {
		work.Go(func() error {
			table, ctx := errgroup.WithContext(ctx)
			for _, st := range w.streams[i : i+w.set.segments] {
				table.Go(func() error { return f(ctx, st) })
			}
			return table.Wait()
		})
	}
	return work.Wait()
}

// writeFiles leaves the coordinator's files where gpbackup would, read-only.
func (w *world) writeFiles(s *session, fig figures) error {
	metadata, spans := metadataSQL(w.db.tables)
	config, err := os.ReadFile(s.config)
	if err != nil {
		return err
	}
	w.files = map[string]string{
		"metadata.sql":       metadata,
		"toc.yaml":           tocYAML(w.db, spans),
		"plugin_config.yaml": string(config),
		"config.yaml":        configYAML(w.db, w.set.exe, w.version, w.timestamp, w.set.gzip),
		"report":             reportText(w.timestamp, fig.streams, fig.logical),
	}
	for _, name := range sorted(w.files) {
		if err := os.WriteFile(s.file(name), []byte(w.files[name]), 0o444); err != nil {
			return err
		}
	}
	return nil
}

// restore is gprestore's work, into directories of other names, with every byte compared.
func (w *world) restore(ctx context.Context) (figures, error) {
	fig := figures{timestamp: w.timestamp, streams: len(w.streams)}
	for _, st := range w.streams {
		fig.logical += st.size
	}
	s, err := w.session("20260201080000", "other/place", w.version)
	if err != nil {
		return fig, err
	}
	progress("restore %s: %d streams into other directories", w.timestamp, fig.streams)
	begin := time.Now()
	if err := s.hook(ctx, "setup_plugin_for_restore"); err != nil {
		return fig, err
	}
	if err := s.files(ctx, "restore_file", "config.yaml", "metadata.sql", "report", "toc.yaml"); err != nil {
		return fig, err
	}
	err = w.eachStream(ctx, func(ctx context.Context, st stream) error {
		sum := sha256.New()
		if err := s.copyIn(ctx, st, w.set.gzip, sum); err != nil {
			return err
		}
		if digest(sum) != st.hash {
			return fmt.Errorf("compare table %s of segment %d: other bytes came back", st.table.name, st.content)
		}
		return nil
	})
	if err != nil {
		return fig, err
	}
	if err := s.hook(ctx, "cleanup_plugin_for_restore"); err != nil {
		return fig, err
	}
	fig.took = time.Since(begin)
	for _, name := range []string{"config.yaml", "metadata.sql", "report", "toc.yaml"} {
		got, err := os.ReadFile(s.file(name))
		if err != nil {
			return fig, err
		}
		if !bytes.Equal(got, []byte(w.files[name])) {
			return fig, fmt.Errorf("compare %s: other bytes came back", s.file(name))
		}
	}
	return fig, nil
}

// diskUse is what du says of a directory: blocks, not lengths.
func diskUse(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		} else {
			total += info.Size()
		}
		return nil
	})
	return total, err
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
