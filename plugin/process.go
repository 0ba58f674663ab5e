package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// APIVersion is the version of gpbackup's plugin API that is spoken. gpbackup wants
// 0.3.0 or more; its plugin_test.sh compares as text, so 0.10.0 would be too low.
const APIVersion = "0.5.0"

// Process is the process of one plugin command. Its methods are the commands; each
// is called once, through Run.
type Process struct {
	Name    string // of the executable, without directory
	Version string

	stdout, stderr *os.File
	getenv         func(string) string
	parent         int // process id
	command        string
	signals        *signals
	log            *slog.Logger // of the call; nil before its configuration is known
	started        time.Time
	metrics        *metrics.Run // nil: nobody wants any
}

// NewProcess returns this process, which was started as arg0. It must be called
// before anything else: whose child the process is counts from here on.
func NewProcess(arg0, version string) *Process {
	p := &Process{
		Name: filepath.Base(arg0), Version: version,
		stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, parent: os.Getppid(),
		started: time.Now(),
	}
	KeepDescriptors()
	return p
}

// KeepDescriptors makes sure that no child gets the descriptors that this process
// inherited: about a hundred, relations and the client's socket among them, when a
// server started it.
func KeepDescriptors() {
	const firstInherited = 3
	if unix.CloseRange(firstInherited, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// Kernels before 5.11.
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, entry := range dir {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= firstInherited {
			unix.CloseOnExec(fd)
		}
	}
}

// Run performs a command and returns the exit code, after it reported an error. If
// a signal ended the command, Run does not return.
func (p *Process) Run(command string, perform func(context.Context) error) int {
	p.command = command
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	p.signals = watchSignals(cancel, endings{
		heedIgnored: command == "backup_data",
		atOnce:      command == "restore_data" || command == "restore_data_subset",
	})
	err := p.protect(ctx, perform)
	if err == nil {
		p.endMetrics(0)
		return 0
	}
	if sig := p.signals.signal(); sig != 0 {
		p.endMetrics(128 + int(sig))
		p.logError(err)
		DieBy(sig)
	}
	var output *repo.OutputError
	if errors.As(err, &output) && errors.Is(err, unix.EPIPE) {
		// The reader has what it wanted: the normal end of a filtered restore.
		p.endMetrics(128 + int(unix.SIGPIPE))
		DieBy(unix.SIGPIPE)
	}
	// Before anybody is told: who waits for this process sees the numbers of it.
	p.endMetrics(ExitCode(err))
	// gpbackup_helper takes whatever is on standard error as the end of a restore,
	// but only looks there after standard output.
	_ = p.stdout.Close() // already failed
	p.logError(err)
	Report(p.stderr, err)
	return ExitCode(err)
}

// protect makes an error of a panic.
func (p *Process) protect(ctx context.Context, perform func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: internal error: %v", p.command, r)
			if p.log != nil {
				p.log.Error("panic", "value", fmt.Sprint(r), "stack", string(debug.Stack()))
			}
		}
	}()
	return perform(ctx)
}

func (p *Process) logError(err error) {
	if p.log != nil {
		p.log.Error("failed", "error", err)
	}
}

// session is a command with its configuration and its repository.
type session struct {
	*repo.Repo
	config *Config
	log    *slog.Logger
}

func (p *Process) configure(path string) (*Config, error) {
	c, err := LoadConfig(path)
	if err != nil {
		return nil, err
	}
	if err := c.Complete(p.getenv); err != nil {
		return nil, usagef("read config %s: %w", path, err)
	}
	p.log = openLog(c, p.command, time.Now())
	p.beginMetrics(c)
	return c, nil
}

// open reads the configuration and opens the repository.
func (p *Process) open(ctx context.Context, configPath, operation string) (*session, error) {
	c, err := p.configure(configPath)
	if err != nil {
		return nil, err
	}
	return p.openWith(ctx, c, operation)
}

func (p *Process) openWith(ctx context.Context, c *Config, operation string) (*session, error) {
	r, err := c.Open(ctx, operation, p.Version, p.log)
	if err != nil {
		return nil, err
	}
	return &session{Repo: r, config: c, log: p.log}, nil
}

// origin describes where a stream comes from.
func (p *Process) origin(path string) manifest.Origin {
	host, _ := os.Hostname() // only for people to read
	return manifest.Origin{Host: host, Path: path, Command: p.command, Version: p.Version, Time: time.Now().UTC()}
}

// mayPublish is asked last before a stream becomes visible. The end of standard
// input proves nothing: a server that cancels a COPY, and a parent that dies, end
// it cleanly in the middle of the data.
func (p *Process) mayPublish() error {
	p.signals.settle()
	if p.signals.signal() != 0 {
		return errInterrupted
	}
	if parent := os.Getppid(); parent != p.parent {
		return fmt.Errorf("the process that sent the stream (%d) is gone, so it may not be whole", p.parent)
	}
	return nil
}

// widen makes a pipe as large as an ordinary user may: fewer switches between the
// processes. What is no pipe is left as it is.
func widen(fd int) {
	const pipeSize = 1 << 20
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize)
}

// Standard input and output, by number.
const (
	Stdin  = 0
	Stdout = 1
)
