package plugin

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/storage"
)

// Hook is what gpbackup says when it calls a setup or cleanup command: for the
// coordinator, then for each segment's host (in fact once per segment, all at
// once), then for each segment.
type Hook struct {
	Config  string
	Dir     string // need not exist
	Scope   string
	Content string // with literal quotes or without, or missing
}

// The words for a hook's scope. Every gpbackup so far says master.
var scopes = map[string]bool{"master": true, "coordinator": true, "segment_host": true, "segment": true}

func (h Hook) check() error {
	if !scopes[h.Scope] {
		return usagef("unknown scope %q: known are master, coordinator, segment_host and segment", h.Scope)
	}
	content := strings.Trim(h.Content, `"`)
	if content == "" {
		return nil
	}
	if _, err := strconv.Atoi(content); err != nil {
		return usagef("content id %q is not a number", h.Content)
	}
	return nil
}

// SetupForBackup opens the repository, so that a wrong configuration or key, or a
// repository that cannot be written to, ends the backup before it begins, and brings
// this host's caches up to date.
func (p *Process) SetupForBackup(ctx context.Context, h Hook) error {
	s, err := p.setup(ctx, h, "write")
	if err != nil {
		return err
	}
	defer s.Close()
	// An hour into the backup is a bad time to learn that nothing can be written.
	if st, ok := storage.As[interface {
		CheckWritable(ctx context.Context) error
	}](s.Storage()); ok {
		if err := st.CheckWritable(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.command, err)
		}
	}
	if h.Scope == "segment" || s.config.CacheDir == "" {
		return nil
	}
	// Neither is needed, and neither may hold up the hook: gpbackup waits for it.
	ctx, cancel := context.WithTimeout(ctx, recentPatience)
	defer cancel()
	if err := s.refreshRecent(ctx); err != nil {
		s.log.Warn("the newest backups are not known on this host", "error", err)
	}
	if err := p.startRefresh(h.Config); err != nil {
		s.log.Warn("the index cache is not brought up to date", "error", err)
	}
	return nil
}

// recentPatience bounds how long a hook looks for the newest backups.
const recentPatience = 10 * time.Second

// SetupForRestore opens the repository.
func (p *Process) SetupForRestore(ctx context.Context, h Hook) error {
	s, err := p.setup(ctx, h, "read")
	if err != nil {
		return err
	}
	return s.Close()
}

func (p *Process) setup(ctx context.Context, h Hook, operation string) (*session, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.command, err)
	}
	s, err := p.open(ctx, h.Config, operation)
	if err != nil {
		return nil, err
	}
	s.log.Info("set up", "directory", h.Dir, "scope", h.Scope, "content", strings.Trim(h.Content, `"`))
	return s, nil
}

// Cleanup does nothing. Everything is durable when the call that stored it ends,
// and gpbackup cleans up before it stores more, after it deleted, more than once or
// never; its configuration may be gone by then.
func (p *Process) Cleanup(_ context.Context, h Hook) error {
	if err := h.check(); err != nil {
		return fmt.Errorf("%s: %w", p.command, err)
	}
	return nil
}

// refreshCommand is the command that the child of a hook performs.
const refreshCommand = "refresh_index"

// startRefresh starts a child that brings this host's index cache up to date. It is
// a session of its own with none of our descriptors: a child that kept standard
// error open would hang gpbackup, and in a COPY the server.
func (p *Process) startRefresh(configPath string) error {
	configPath, err := filepath.Abs(configPath)
	if err != nil {
		return err
	}
	// Not the path of the executable: that may have been replaced since.
	child := exec.Command("/proc/self/exe", refreshCommand, configPath)
	child.Args[0] = p.Name
	child.Dir = "/"
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Stdin, Stdout and Stderr are nil, which is /dev/null; all others were marked
	// to be closed when this process began.
	if err := child.Start(); err != nil {
		return err
	}
	return child.Process.Release()
}

// RefreshIndex brings this host's index cache up to date. Of several at once one
// does the work.
func (p *Process) RefreshIndex(ctx context.Context, configPath string) error {
	c, err := p.configure(configPath)
	if err != nil {
		return err
	}
	c.reuse = true // the hook that started us has just read it
	s, err := p.openWith(ctx, c, "read")
	if err != nil {
		return err
	}
	defer s.Close()
	report, err := s.RefreshIndex(ctx)
	if err != nil {
		return err
	}
	s.log.Info("index cache is up to date", "report", fmt.Sprintf("%+v", report))
	return nil
}
