//go:build linux

// Package process runs programs in a directory of their own and says what they took. Nothing is left of a run: not of one
// that ends, and not of one that is killed.
//
// Beside each Place a second process waits, the guard. It ends the programs and removes the directory when the first one
// ends, in whatever way. It knows them by the directory: it is HOME to all of them, and to what they start.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Place is a directory to run programs in.
type Place struct {
	Dir  string
	Env  []string // of every program
	made atomic.Int64

	guard *exec.Cmd
	alive *os.File // the guard acts when this is closed
}

// NewPlace makes a temporary directory below parent, or where temporary files go, and starts its guard. A program that
// calls it calls Main first of all. Close ends it.
func NewPlace(parent string) (*Place, error) {
	dir, err := os.MkdirTemp(parent, "gpdedup-bench-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	p := &Place{Dir: dir, Env: []string{"HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C", "TZ=UTC"}}
	// What is set for a program here, its cache or its repository, is not what is measured.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name == "PATH" || name == "PGBIN" {
			p.Env = append(p.Env, v)
		}
	}
	// Servers run as another user, who must get to what is his.
	err = os.Chmod(dir, 0o711)
	if err == nil {
		err = p.startGuard()
	}
	if err == nil {
		// Children of a hook come to us when the hook has ended, so that their end can be waited for.
		err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", dir, err), p.Close())
	}
	return p, nil
}

// Close ends whatever still runs there, and removes the directory.
func (p *Place) Close() error {
	if p.guard == nil {
		return os.RemoveAll(p.Dir)
	}
	left := p.orphans()
	err := errors.Join(p.alive.Close(), p.guard.Wait())
	for _, pid := range left { // they are dead, and may be forgotten
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
	return err
}

// Fresh makes a directory that did not exist before.
func (p *Place) Fresh(name string) (string, error) {
	dir := filepath.Join(p.Dir, fmt.Sprintf("%s-%d", name, p.made.Add(1)))
	return dir, os.Mkdir(dir, 0o700)
}

func (p *Place) startGuard() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{roleVariable + "=" + guardRole, placeVariable + "=" + p.Dir}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal to all of a terminal's programs is none to it
	if err := cmd.Start(); err != nil {
		return errors.Join(err, r.Close(), w.Close())
	}
	p.guard, p.alive = cmd, w
	return r.Close()
}
