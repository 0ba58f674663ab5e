//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/local"
)

// bench is the directory that everything lies in.
type bench struct {
	set settings
	*process.Place
}

// run runs a command to its end and watches its memory.
func (b *bench) run(ctx context.Context, c process.Command) (process.Usage, error) {
	c.Watch, c.Quiet = true, true
	return b.Run(ctx, c)
}

// describe says what a command took.
func describe(u process.Usage) string {
	return fmt.Sprintf("%s (%s), %s", formatTime(u.Wall), formatTime(u.CPU), mebibytes(u.Anon))
}

// place is a repository, encrypted and with a key file, and a host that uses it.
type place struct {
	b      *bench
	dir    string // holds all of it
	repo   string
	key    string
	id     string
	cache  string // of the repository, on the host
	config string // gpbackup's YAML file
}

func (b *bench) newPlace(ctx context.Context) (*place, error) {
	dir, err := os.MkdirTemp(b.Dir, "place-")
	if err != nil {
		return nil, err
	}
	p := &place{b: b, dir: dir, repo: filepath.Join(dir, "repo"), key: filepath.Join(dir, "key"), config: filepath.Join(dir, "gpdedup.yaml")}
	if _, err = b.run(ctx, process.Command{Args: []string{b.set.exe, "repo", "init", "--repo", p.repo, "--key-file", p.key}}); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	r, err := p.open(ctx)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.id = r.Config().IDHex
	p.cache = filepath.Join(dir, "cache", p.id)
	text := fmt.Sprintf("executablepath: %s\noptions:\n  repository: %s\n  key_file: %s\n  cache_dir: %s\n", b.set.exe, p.repo, p.key, filepath.Dir(p.cache))
	return p, errors.Join(r.Close(), os.WriteFile(p.config, []byte(text), 0o600))
}

// open opens the repository in this process.
func (p *place) open(ctx context.Context) (*repo.Repo, error) {
	st, err := local.Open(p.repo)
	if err != nil {
		return nil, err
	}
	r, err := repo.Open(ctx, st, "write", repo.Options{Secret: repo.Secret{KeyFile: p.key}})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return r, nil
}

// Close removes it.
func (p *place) Close() error { return os.RemoveAll(p.dir) }

// program runs a command of the plugin's.
func (p *place) plugin(ctx context.Context, name, path string, in io.Reader, out io.Writer) (process.Usage, error) {
	args := []string{p.b.set.exe, name, p.config}
	if path != "" {
		args = append(args, path)
	}
	return p.b.run(ctx, process.Command{Args: args, In: in, Out: out})
}

// command runs one of the command line's.
func (p *place) command(ctx context.Context, args ...string) (process.Usage, error) {
	return p.b.run(ctx, process.Command{Args: append(append([]string{p.b.set.exe}, args...), "--config", p.config)})
}

// streamPath is how gpbackup calls the data of a table.
func streamPath(ts string, oid int) string {
	return fmt.Sprintf("/data/gpseg0/backups/%s/%s/gpbackup_0_%s_%d", ts[:8], ts, ts, oid)
}
