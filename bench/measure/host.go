//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/process"
)

// timestamp is that of the next backup.
func (b *bench) timestamp() string {
	b.backups++
	return time.Date(2026, 1, 5, 21, 0, 0, 0, time.UTC).AddDate(0, 0, b.backups).Format("20060102150405")
}

// repository is one that was made for a measurement: encrypted, with a key file.
type repository struct {
	b    *bench
	dir  string // holds all of what follows
	path string
	key  string
	env  []string // to get to it
}

func (b *bench) newRepository(ctx context.Context) (*repository, error) {
	dir, err := b.place.Fresh("repository")
	if err != nil {
		return nil, err
	}
	r := &repository{b: b, dir: dir, path: filepath.Join(dir, "repo"), key: filepath.Join(dir, "key")}
	return r, r.init(ctx)
}

func (r *repository) init(ctx context.Context) error {
	_, err := r.b.place.Run(ctx, process.Command{Args: []string{r.b.exe, "repo", "init", "--repo", r.path, "--key-file", r.key}, Env: r.env, Quiet: true})
	return err
}

// Close removes the repository, with its hosts.
func (r *repository) Close() error { return os.RemoveAll(r.dir) }

// host is one that makes gpbackup's backups to the repository: a configuration, and a cache that begins empty.
type host struct {
	r      *repository
	dir    string
	cache  string
	config string
}

// host makes one.
func (r *repository) host() (*host, error) {
	dir, err := os.MkdirTemp(r.dir, "host")
	if err != nil {
		return nil, err
	}
	h := &host{r: r, dir: dir, cache: filepath.Join(dir, "cache"), config: filepath.Join(dir, "gpdedup.yaml")}
	text := fmt.Sprintf("executablepath: %s\noptions:\n  repository: %s\n  key_file: %s\n  cache_dir: %s\n", r.b.exe, r.path, r.key, h.cache)
	return h, os.WriteFile(h.config, []byte(text), 0o600)
}

// backupDir is the directory of a segment's backup; it need not exist.
func (h *host) backupDir(ts string) string {
	return filepath.Join(h.dir, "gpseg0", "backups", ts[:8], ts)
}

// streamPath is how gpbackup calls the data of a table.
func (h *host) streamPath(ts string, table int) string {
	return filepath.Join(h.backupDir(ts), fmt.Sprintf("gpbackup_0_%s_%d", ts, table))
}

func (h *host) run(ctx context.Context, c process.Command) (process.Usage, error) {
	c.Args, c.Env = append([]string{h.r.b.exe}, c.Args...), h.r.env
	return h.r.b.place.Run(ctx, c)
}

// setUp calls the hook as gpbackup does before a backup, for a coordinator and one segment. The refresh of the index
// that it starts goes on, as it does for gpbackup: WaitOrphans waits for its end.
func (h *host) setUp(ctx context.Context, ts string) error {
	for _, scope := range [][]string{{"master", `"-1"`}, {"segment_host"}, {"segment", `"0"`}} {
		args := append([]string{"setup_plugin_for_backup", h.config, h.backupDir(ts)}, scope...)
		if _, err := h.run(ctx, process.Command{Args: args}); err != nil {
			return err
		}
	}
	return nil
}

// backUp stores a stream. Of what is no small table the memory is watched.
func (h *host) backUp(ctx context.Context, ts string, table int, in contender.Input) (process.Usage, error) {
	return h.run(ctx, process.Command{Args: []string{"backup_data", h.config, h.streamPath(ts, table)}, File: in.File, In: in.From, Watch: table < 100})
}

// succeed stores the file by which gpbackup says that a backup is complete.
func (h *host) succeed(ctx context.Context, ts string) error {
	dir := h.backupDir(ts)
	path := filepath.Join(dir, "gpbackup_"+ts+"_config.yaml")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte("databasename: sales\nstatus: Success\ntimestamp: \""+ts+"\"\n"), 0o600); err != nil {
		return err
	}
	_, err := h.run(ctx, process.Command{Args: []string{"backup_file", h.config, path}})
	return err
}

// restore brings a stream back; with nil through a pipe to cat.
func (h *host) restore(ctx context.Context, ts string, table int, out io.Writer) (process.Usage, error) {
	return h.run(ctx, process.Command{
		Args: []string{"restore_data", h.config, h.streamPath(ts, table)}, Out: out, Pipe: out == nil, Watch: table < 100,
	})
}
