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
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what a command took.
type usage struct {
	wall, cpu  time.Duration // cpu is that of its children, too
	anon, file int64         // peaks of anonymous memory and of mapped pages of files, in bytes, if watched
}

// command is one program to run.
type command struct {
	args  []string
	dir   string
	env   []string  // beside the bench's
	in    io.Reader // nil: /dev/null
	out   io.Writer // nil: /dev/null
	watch bool      // its memory
	quiet bool      // what it says on standard error is no failure
}

// run runs a command to its end.
func (b *bench) run(ctx context.Context, c command) (usage, error) {
	cmd, said := b.prepare(ctx, c)
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	var u usage
	stop := func() {}
	if c.watch {
		stop = u.watch(cmd.Process.Pid)
	}
	err := cmd.Wait()
	u.wall = time.Since(begin)
	stop()
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return u, b.failure(c, err, said)
}

// pipe runs a command whose output goes through a pipe to cat, and on to /dev/null.
func (b *bench) pipe(ctx context.Context, c command) (usage, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return usage{}, err
	}
	defer r.Close()
	defer w.Close()
	c.out = w
	cmd, said := b.prepare(ctx, c)
	cat, _ := b.prepare(ctx, command{args: []string{"cat"}, in: r})
	begin := time.Now()
	if err := errors.Join(cmd.Start(), cat.Start()); err != nil {
		return usage{}, err
	}
	_, _ = r.Close(), w.Close() // the children's ends stay
	err = cmd.Wait()
	catErr := cat.Wait()
	wall := time.Since(begin)
	return usage{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, errors.Join(b.failure(c, err, said), catErr)
}

func (b *bench) prepare(ctx context.Context, c command) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir = c.dir
	if cmd.Dir == "" {
		cmd.Dir = b.dir
	}
	cmd.Env = append(append([]string(nil), b.env...), c.env...)
	cmd.Stdin, cmd.Stdout = c.in, c.out
	said := new(bytes.Buffer)
	cmd.Stderr = said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd, said
}

func (b *bench) failure(c command, err error, said *bytes.Buffer) error {
	if err == nil && said.Len() > 0 && !c.quiet {
		err = errors.New("not silent on standard error")
	}
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(c.args, " "), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// watch polls the memory of a process until the function that it returns is called. A short process is asked often.
func (u *usage) watch(pid int) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	path := "/proc/" + strconv.Itoa(pid) + "/status"
	go func() {
		defer close(done)
		begin := time.Now()
		for {
			status, err := os.ReadFile(path)
			if err != nil {
				return
			}
			u.anon = max(u.anon, statusBytes(status, "RssAnon:"))
			u.file = max(u.file, statusBytes(status, "RssFile:"))
			pause := 5 * time.Millisecond
			if time.Since(begin) < time.Second {
				pause = time.Millisecond
			}
			select {
			case <-end:
				return
			case <-time.After(pause):
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

// orphans are the processes that became our children when their parents ended.
// There must be no other children, but for the S3 server.
func orphans() (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) && !bytes.Contains(stat, []byte(" (s3server) ")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// waitOrphans waits until they have ended.
func waitOrphans(ctx context.Context) error {
	for _, pid := range orphans() {
		for {
			got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
			if got == pid || err != nil && !errors.Is(err, unix.EINTR) {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
	return ctx.Err()
}

func killOrphans() {
	for _, pid := range orphans() {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
}
