//go:build linux

package process

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
)

// Usage is what a command took.
type Usage struct {
	Wall time.Duration // from its start to its end
	CPU  time.Duration // user and system, of all processes that it waited for, too
	Peak int64         // of its resident memory, in bytes; if watched
	Anon int64         // the same without the pages of files
}

// Add is the usage of one command after the other.
func (u Usage) Add(v Usage) Usage {
	return Usage{Wall: u.Wall + v.Wall, CPU: u.CPU + v.CPU, Peak: max(u.Peak, v.Peak), Anon: max(u.Anon, v.Anon)}
}

// Command is one program to run.
type Command struct {
	Args  []string
	Dir   string   // where it works; "": the place's
	Env   []string // beside the place's
	File  string   // is fed to it through a pipe, by cat
	In    io.Reader
	Out   io.Writer // nil: /dev/null
	Pipe  bool      // what it writes goes through a pipe to cat, and on to /dev/null
	Watch bool      // its memory
	Quiet bool      // what it says on standard error is no failure
}

// Run runs a command to its end. It is a failure if it says something on standard error and is not Quiet.
func (p *Place) Run(ctx context.Context, c Command) (u Usage, err error) {
	cmd, said := p.prepare(ctx, c)
	var beside []*exec.Cmd // cats
	var ours []*os.File    // our ends of their pipes
	cat := func(in, out *os.File) {
		other, _ := p.prepare(ctx, Command{Args: []string{"cat"}})
		if in != nil {
			other.Stdin = in
		}
		if out != nil {
			other.Stdout = out
		}
		beside = append(beside, other)
	}
	defer func() {
		for _, f := range ours {
			_ = f.Close()
		}
	}()
	if c.File != "" {
		file, err := os.Open(c.File)
		if err != nil {
			return u, err
		}
		ours = append(ours, file)
		r, w, err := os.Pipe()
		if err != nil {
			return u, err
		}
		ours = append(ours, r, w)
		cmd.Stdin = r
		cat(file, w)
	}
	if c.Pipe {
		r, w, err := os.Pipe()
		if err != nil {
			return u, err
		}
		ours = append(ours, r, w)
		cmd.Stdout = w
		cat(r, nil)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return u, err
	}
	stop := func() {}
	if c.Watch {
		stop = u.watch(cmd.Process.Pid)
	}
	var failed error
	for i, other := range beside {
		if err := other.Start(); err != nil {
			beside = beside[:i]
			failed = errors.Join(err, cmd.Cancel())
			break
		}
	}
	for _, f := range ours { // the children's ends stay
		_ = f.Close()
	}
	err = cmd.Wait()
	u.Wall = time.Since(begin)
	stop()
	if state := cmd.ProcessState; state != nil {
		u.CPU = state.UserTime() + state.SystemTime()
	}
	for _, other := range beside {
		if e := other.Wait(); err == nil && e != nil {
			failed = errors.Join(failed, fmt.Errorf("cat: %w", e))
		}
	}
	if ctx.Err() != nil {
		return u, ctx.Err()
	}
	return u, errors.Join(failure(c, err, said), failed)
}

// Output is what a command prints.
func (p *Place) Output(ctx context.Context, c Command) ([]byte, error) {
	var out bytes.Buffer
	c.Out = &out
	_, err := p.Run(ctx, c)
	return out.Bytes(), err
}

// Start prepares a command as Run does and leaves it to the caller.
func (p *Place) Start(ctx context.Context, c Command) *exec.Cmd {
	cmd, _ := p.prepare(ctx, c)
	return cmd
}

func (p *Place) prepare(ctx context.Context, c Command) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = p.Dir
	}
	cmd.Env = append(append([]string(nil), p.Env...), c.Env...)
	cmd.Stdin, cmd.Stdout = c.In, c.Out
	said := new(bytes.Buffer)
	cmd.Stderr = said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd, said
}

func failure(c Command, err error, said *bytes.Buffer) error {
	if err == nil && said.Len() > 0 && !c.Quiet {
		err = errors.New("not silent on standard error")
	}
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(c.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// watch polls the memory of a process until the function that it returns is called. The kernel's own account of a
// process's peak, in its rusage, begins with what its parent had: of no use here.
func (u *Usage) watch(pid int) (stop func()) {
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
			u.Peak = max(u.Peak, StatusBytes(status, "VmHWM:"))
			u.Anon = max(u.Anon, StatusBytes(status, "RssAnon:"))
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

// StatusBytes returns a figure that /proc/PID/status gives in kB, in bytes.
func StatusBytes(status []byte, field string) int64 {
	_, rest, _ := bytes.Cut(status, []byte("\n"+field))
	words := bytes.Fields(rest[:min(len(rest), 64)])
	if len(words) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(words[0]), 10, 64)
	return n << 10
}
