//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/local"
)

// bench is the temporary directory.
type bench struct {
	set settings
	dir string
}

// usage is what a command took.
type usage struct {
	wall, cpu time.Duration
	anon      int64 // peak of RssAnon, in bytes
}

func (u usage) String() string {
	return fmt.Sprintf("%s (%s), %s", formatTime(u.wall), formatTime(u.cpu), mebibytes(u.anon))
}

// command is one program to run.
type command struct {
	args []string
	in   io.Reader // nil: /dev/null
	out  io.Writer // nil: /dev/null
}

// run runs a command to its end and watches its memory.
func (b *bench) run(ctx context.Context, c command) (u usage, err error) {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir = b.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "TMPDIR=" + b.dir, "LC_ALL=C", "TZ=UTC"}
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, c.out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return u, err
	}
	stop := u.watch(cmd.Process.Pid)
	err = cmd.Wait()
	u.wall = time.Since(begin)
	stop()
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err != nil {
		return u, fmt.Errorf("run %s: %w: %s", strings.Join(c.args, " "), err, strings.TrimSpace(said.String()))
	}
	return u, nil
}

// watch polls the memory of a process until the function that it returns is called. The kernel's account of a process's
// peak counts the mapped pages of files, too, which are no memory that anybody is short of.
func (u *usage) watch(pid int) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	path := "/proc/" + strconv.Itoa(pid) + "/status"
	go func() {
		defer close(done)
		for {
			status, err := os.ReadFile(path)
			if err != nil {
				return
			}
			u.anon = max(u.anon, statusBytes(status, "RssAnon:"))
			select {
			case <-end:
				return
			case <-time.After(3 * time.Millisecond):
			}
		}
	}()
	return func() { close(end); <-done }
}

// statusBytes returns a figure that /proc/PID/status gives in kB, in bytes.
func statusBytes(status []byte, field string) int64 {
	_, rest, _ := bytes.Cut(status, []byte("\n"+field))
	words := bytes.Fields(rest[:min(len(rest), 64)])
	if len(words) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(words[0]), 10, 64)
	return n << 10
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
	dir, err := os.MkdirTemp(b.dir, "place-")
	if err != nil {
		return nil, err
	}
	p := &place{b: b, dir: dir, repo: filepath.Join(dir, "repo"), key: filepath.Join(dir, "key"), config: filepath.Join(dir, "gpdedup.yaml")}
	if _, err = b.run(ctx, command{args: []string{b.set.exe, "repo", "init", "--repo", p.repo, "--key-file", p.key}}); err != nil {
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
func (p *place) plugin(ctx context.Context, name, path string, in io.Reader, out io.Writer) (usage, error) {
	args := []string{p.b.set.exe, name, p.config}
	if path != "" {
		args = append(args, path)
	}
	return p.b.run(ctx, command{args: args, in: in, out: out})
}

// command runs one of the command line's.
func (p *place) command(ctx context.Context, args ...string) (usage, error) {
	return p.b.run(ctx, command{args: append(append([]string{p.b.set.exe}, args...), "--config", p.config)})
}

// streamPath is how gpbackup calls the data of a table.
func streamPath(ts string, oid int) string {
	return fmt.Sprintf("/data/gpseg0/backups/%s/%s/gpbackup_0_%s_%d", ts[:8], ts, ts, oid)
}

func treeSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
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
