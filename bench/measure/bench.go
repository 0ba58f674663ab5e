//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bench is the temporary directory, the program, and what was found out so far.
type bench struct {
	set    settings
	dir    string
	exe    string
	env    []string
	made   int // directories, for fresh names
	days   int // timestamps
	report report
}

func newBench(ctx context.Context, set settings, dir string) (*bench, error) {
	b := &bench{set: set, dir: dir, env: []string{"HOME=" + dir, "LC_ALL=C", "TZ=UTC"}}
	// What is set for Go or for gpdedup here is not what a server sets.
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name == "PATH" || name == "LANG" || name == "TMPDIR" {
			b.env = append(b.env, v)
		}
	}
	if set.exe != "" {
		var err error
		b.exe, err = filepath.Abs(set.exe)
		return b, err
	}
	b.exe = filepath.Join(dir, "gpdedup")
	progress("build gpdedup")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", b.exe, "./cmd/gpdedup")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build gpdedup: %w (run this in the module's root): %s", err, out)
	}
	return b, nil
}

// fresh makes a directory of its own.
func (b *bench) fresh(name string) (string, error) {
	b.made++
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.made))
	return dir, os.Mkdir(dir, 0o700)
}

// timestamp is that of the next backup.
func (b *bench) timestamp() string {
	b.days++
	return time.Date(2026, 1, 5, 21, 0, 0, 0, time.UTC).AddDate(0, 0, b.days).Format("20060102150405")
}

// repository is one that was made for a measurement: encrypted, with a key file.
type repository struct {
	b    *bench
	dir  string // holds all of what follows
	path string
	key  string
}

func (b *bench) newRepository(ctx context.Context) (*repository, error) {
	dir, err := b.fresh("repository")
	if err != nil {
		return nil, err
	}
	r := &repository{b: b, dir: dir, path: filepath.Join(dir, "repo"), key: filepath.Join(dir, "key")}
	_, err = b.run(ctx, command{args: []string{b.exe, "repo", "init", "--repo", r.path, "--key-file", r.key}, quiet: true})
	return r, err
}

// Close removes the repository.
func (r *repository) Close() error { return os.RemoveAll(r.dir) }

// stored is the length of all objects.
func (r *repository) stored() (int64, error) { return treeSize(r.path) }

func treeSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

// host is one that makes backups to the repository: a configuration, and a cache that begins empty.
type host struct {
	r      *repository
	cache  string
	config string
}

// host makes one. options are further lines of the YAML file.
func (r *repository) host(options ...string) (*host, error) {
	dir, err := r.b.fresh("host")
	if err != nil {
		return nil, err
	}
	h := &host{r: r, cache: filepath.Join(dir, "cache"), config: filepath.Join(dir, "gpdedup.yaml")}
	text := fmt.Sprintf("executablepath: %s\noptions:\n  repository: %s\n  key_file: %s\n  cache_dir: %s\n", r.b.exe, r.path, r.key, h.cache)
	for _, o := range options {
		text += "  " + o + "\n"
	}
	return h, os.WriteFile(h.config, []byte(text), 0o600)
}

// Close removes the host with its cache.
func (h *host) Close() error { return os.RemoveAll(filepath.Dir(h.config)) }

// backupDir is the directory of a segment's backup; it need not exist.
func (h *host) backupDir(ts string) string {
	return filepath.Join(filepath.Dir(h.config), "gpseg0", "backups", ts[:8], ts)
}

// streamPath is how gpbackup calls the data of a table.
func (h *host) streamPath(ts string, table int) string {
	return filepath.Join(h.backupDir(ts), fmt.Sprintf("gpbackup_0_%s_%d", ts, table))
}

// setUp calls the hook as gpbackup does before a backup, for a coordinator and one segment. The refresh of the index
// that it starts goes on, as it does for gpbackup: waitOrphans waits for its end.
func (h *host) setUp(ctx context.Context, ts string) error {
	for _, scope := range [][2]string{{"master", `"-1"`}, {"segment_host", ""}, {"segment", `"0"`}} {
		args := []string{h.r.b.exe, "setup_plugin_for_backup", h.config, h.backupDir(ts), scope[0]}
		if scope[1] != "" {
			args = append(args, scope[1])
		}
		if _, err := h.r.b.run(ctx, command{args: args}); err != nil {
			return err
		}
	}
	return nil
}

// backUp stores a stream.
func (h *host) backUp(ctx context.Context, ts string, table int, in io.Reader, watch bool) (usage, error) {
	return h.r.b.run(ctx, command{args: []string{h.r.b.exe, "backup_data", h.config, h.streamPath(ts, table)}, in: in, watch: watch})
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
	_, err := h.r.b.run(ctx, command{args: []string{h.r.b.exe, "backup_file", h.config, path}})
	return err
}

// restoring is the command that brings a stream back.
func (h *host) restoring(ts string, table int) command {
	return command{args: []string{h.r.b.exe, "restore_data", h.config, h.streamPath(ts, table)}}
}

// whole backs up a file as the only table of a whole backup, hook included, and returns what backup_data took.
func (h *host) whole(ctx context.Context, ts, file string) (usage, error) {
	f, err := os.Open(file)
	if err != nil {
		return usage{}, err
	}
	defer f.Close()
	if err := h.setUp(ctx, ts); err != nil {
		return usage{}, err
	}
	u, err := h.backUp(ctx, ts, 1, f, false)
	if err != nil {
		return u, err
	}
	if err := h.succeed(ctx, ts); err != nil {
		return u, err
	}
	return u, waitOrphans(ctx)
}
