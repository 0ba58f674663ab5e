package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cluster is a PostgreSQL of our own: in a directory, behind a unix socket there, and
// gone when it is stopped. It syncs nothing, because nobody will miss it.
type cluster struct {
	bin    string
	data   string
	socket string
	user   *syscall.Credential // PostgreSQL refuses root; nil: whoever we are
	server *exec.Cmd
	log    *bytes.Buffer
	ended  chan struct{}
}

const (
	postgresBin = "/usr/lib/postgresql/15/bin"
	nobody      = 65534
	patience    = time.Minute // for the server's start and end
)

// newCluster makes a cluster below dir and starts its server.
func newCluster(dir string) (*cluster, error) {
	c := &cluster{bin: postgresBin, log: new(bytes.Buffer), ended: make(chan struct{})}
	if _, err := os.Stat(c.bin); err != nil {
		return nil, fmt.Errorf("PostgreSQL 15: %w", err)
	}
	home := filepath.Join(dir, "postgres")
	c.data, c.socket = filepath.Join(home, "data"), home
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		c.user = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := errors.Join(os.Chmod(dir, 0o711), os.Chown(home, nobody, nobody)); err != nil {
			return nil, err
		}
	}
	if out, err := c.command("initdb", "-D", c.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	// Vacuum runs when the days say so, and nothing else at its own time.
	args := []string{"-D", c.data, "-k", c.socket}
	for _, set := range []string{
		"listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off",
		"shared_buffers=256MB", "max_wal_size=4GB", "checkpoint_timeout=1h", "max_parallel_workers_per_gather=0",
	} {
		args = append(args, "-c", set)
	}
	c.server = c.command("postgres", args...)
	c.server.Stdout, c.server.Stderr = c.log, c.log
	if err := c.server.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.server.Wait() // what it says is in the log
		close(c.ended)
	}()
	deadline := time.Now().Add(patience)
	for c.command("pg_isready", "-q", "-h", c.socket).Run() != nil {
		select {
		case <-c.ended:
			return nil, fmt.Errorf("postgres ended: %s", c.log)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(errors.New("postgres does not answer"), c.stop())
		}
	}
	return c, nil
}

func (c *cluster) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, program), args...)
	cmd.Dir = c.socket
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user, Setpgid: true}
	cmd.Env = append(os.Environ(), "PGHOST="+c.socket, "PGUSER=postgres", "PGDATABASE=postgres", "HOME="+c.socket)
	return cmd
}

// stop ends the server and waits for that.
func (c *cluster) stop() error {
	_ = c.server.Process.Signal(os.Interrupt) // fast shutdown; it may have ended before
	select {
	case <-c.ended:
		return nil
	case <-time.After(patience):
		_ = c.server.Process.Signal(syscall.SIGQUIT)
		return errors.New("postgres does not end")
	}
}

// do runs statements in one session, each in a transaction of its own.
func (c *cluster) do(statements ...string) error {
	args := []string{"-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1"}
	for _, sql := range statements {
		args = append(args, "-c", sql)
	}
	if out, err := c.command("psql", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	return nil
}

// print runs a program that prints what is wanted.
func (c *cluster) print(to io.Writer, program string, args ...string) error {
	cmd := c.command(program, args...)
	var complaint strings.Builder
	cmd.Stdout, cmd.Stderr = to, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, complaint.String())
	}
	return nil
}
