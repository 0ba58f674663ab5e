package pgtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Cluster is a server's data directory, and the server if it runs.
type Cluster struct {
	*Host
	Data string
	dir  string // of the socket and the log
}

// Socket is the directory of the server's socket.
func (c *Cluster) Socket() string { return c.dir }

// Configure appends lines to postgresql.conf, where the last one of a name counts.
func (c *Cluster) Configure(r Reporter, lines ...string) {
	r.Helper()
	f, err := os.OpenFile(filepath.Join(c.Data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("\n" + strings.Join(lines, "\n") + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		r.Fatalf("configure server: %v", err)
	}
}

// Touch makes an empty file in the data directory: standby.signal, recovery.signal.
func (c *Cluster) Touch(r Reporter, name string) {
	r.Helper()
	path := filepath.Join(c.Data, name)
	err := os.WriteFile(path, nil, 0o600)
	if err == nil {
		err = c.Give(path)
	}
	if err != nil {
		r.Fatalf("make %s: %v", name, err)
	}
}

// Has reports whether the data directory has the file.
func (c *Cluster) Has(name string) bool {
	_, err := os.Stat(filepath.Join(c.Data, name))
	return err == nil
}

// Start starts the server and returns when it answers.
func (c *Cluster) Start(r Reporter) {
	r.Helper()
	if err := c.TryStart(); err != nil {
		r.Fatalf("%v\n%s", err, c.Log())
	}
}

// TryStart starts the server and returns when it answers, or has ended.
func (c *Cluster) TryStart() error {
	if err := c.Launch(); err != nil {
		return err
	}
	return await("the server answers", func() (bool, error) {
		if c.Down() {
			return false, errors.New("the server ended")
		}
		_, err := c.TrySQL("SELECT 1")
		return err == nil, nil
	})
}

// Launch starts the server and does not wait until it answers.
func (c *Cluster) Launch() error {
	_ = os.Remove(filepath.Join(c.Data, "postmaster.pid")) // of a server that was killed; ours have all ended
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.Command(c.Program("postgres"), "-D", c.Data)
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // a signal to the test is not one to its servers
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	go func() { _ = cmd.Wait() }() // how it ended is in its log
	// The process is there; whether it comes up, its file says.
	return await("the server begins", func() (bool, error) {
		return c.pid() != 0 || syscall.Kill(cmd.Process.Pid, 0) != nil, nil
	})
}

// pid returns the postmaster's process id, 0 if there is none.
func (c *Cluster) pid() int {
	data, err := os.ReadFile(filepath.Join(c.Data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

// Down reports whether no server runs.
func (c *Cluster) Down() bool { return c.pid() == 0 }

// AwaitDown waits until the server has ended.
func (c *Cluster) AwaitDown(r Reporter) {
	r.Helper()
	c.Await(r, "the server ends", c.Down)
}

// Stop stops the server: in mode "smart", "fast" or "immediate", as pg_ctl calls them.
func (c *Cluster) Stop(r Reporter, mode string) {
	r.Helper()
	sig := map[string]syscall.Signal{"smart": syscall.SIGTERM, "fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}[mode]
	if pid := c.pid(); pid != 0 {
		_ = syscall.Kill(pid, sig) // if it is gone already, all the better
	}
	c.AwaitDown(r)
}

// halt ends the server and all its children, come what may.
func (c *Cluster) halt() {
	if pid := c.pid(); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGQUIT)
		if await("", func() (bool, error) { return c.pid() == 0, nil }) != nil {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
}

// SQL runs a query and returns its result, columns separated by |.
func (c *Cluster) SQL(r Reporter, query string) string {
	r.Helper()
	out, err := c.TrySQL(query)
	if err != nil {
		r.Fatalf("%s: %v\n%s", query, err, c.Log())
	}
	return out
}

// TrySQL is SQL for queries that may fail.
func (c *Cluster) TrySQL(query string) (string, error) {
	return c.Run(c.Program("psql"), "-XAtq", "-h", c.dir, "-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", query)
}

// AwaitSQL waits until a query has the result.
func (c *Cluster) AwaitSQL(r Reporter, query, want string) {
	r.Helper()
	var got string
	var err error
	c.Await(r, "", func() bool {
		got, err = c.TrySQL(query)
		return err == nil && got == want
	}, func() string { return fmt.Sprintf("%s is %q (%v), want %q", query, got, err, want) })
}

// SwitchWAL ends the segment that is being written, and returns its name.
func (c *Cluster) SwitchWAL(r Reporter) string {
	r.Helper()
	// Without a record in it, a segment is not left.
	return c.SQL(r, "SELECT pg_logical_emit_message(true, 'pgtest', 'switch') IS NULL; SELECT pg_walfile_name(pg_switch_wal())")[len("f\n"):]
}

// Fill writes n segments of the WAL and returns the name of the last.
func (c *Cluster) Fill(r Reporter, n int) string {
	r.Helper()
	last := ""
	for range n {
		last = c.SwitchWAL(r)
	}
	return last
}

// Archived waits until the archiver has done with the file, and with all before it.
func (c *Cluster) Archived(r Reporter, file string) {
	r.Helper()
	c.Await(r, "", func() bool {
		_, err := os.Stat(filepath.Join(c.Data, "pg_wal", "archive_status", file+".done"))
		if errors.Is(err, fs.ErrNotExist) { // a checkpoint may have cleared it away
			got, _ := c.TrySQL("SELECT last_archived_wal FROM pg_stat_archiver")
			return len(got) >= 24 && len(file) >= 24 && got[:24] >= file[:24]
		}
		return err == nil
	}, func() string { return file + " is not archived" })
}

// BaseBackup clones the running server with pg_basebackup, which takes more arguments.
// Without any, no WAL comes along: all has to come out of the archive.
func (c *Cluster) BaseBackup(r Reporter, args ...string) *Cluster {
	r.Helper()
	clone := c.adopt(r, "")
	if len(args) == 0 {
		args = []string{"-X", "none"}
	}
	args = append([]string{"-h", c.dir, "-U", "postgres", "-D", clone.Data, "-c", "fast", "--no-sync"}, args...)
	if _, err := c.Run(c.Program("pg_basebackup"), args...); err != nil {
		r.Fatalf("%v", err)
	}
	clone.Configure(r, "unix_socket_directories = '"+clone.dir+"'")
	return clone
}

// Copy clones a cluster that is not running.
func (c *Cluster) Copy(r Reporter) *Cluster {
	r.Helper()
	if !c.Down() {
		r.Fatalf("copy cluster: it is running")
	}
	clone := c.adopt(r, "")
	if _, err := c.Run("cp", "-a", c.Data, clone.Data); err != nil {
		r.Fatalf("%v", err)
	}
	clone.Configure(r, "unix_socket_directories = '"+clone.dir+"'")
	return clone
}

// Promote ends recovery, and returns when the server takes writes.
func (c *Cluster) Promote(r Reporter) {
	r.Helper()
	c.SQL(r, "SELECT pg_promote()")
	c.AwaitPromoted(r)
}

// AwaitPromoted waits until the server is not in recovery.
func (c *Cluster) AwaitPromoted(r Reporter) {
	r.Helper()
	c.AwaitSQL(r, "SELECT pg_is_in_recovery()", "f")
}

// Timeline returns the timeline of the last checkpoint.
func (c *Cluster) Timeline(r Reporter) string {
	r.Helper()
	return c.SQL(r, "SELECT timeline_id FROM pg_control_checkpoint()")
}

// SystemID returns the system identifier, in decimal.
func (c *Cluster) SystemID(r Reporter) string {
	r.Helper()
	out, err := c.Run(c.Program("pg_controldata"), c.Data)
	if err != nil {
		r.Fatalf("%v", err)
	}
	m := regexp.MustCompile(`system identifier: +(\d+)`).FindStringSubmatch(out)
	if m == nil {
		r.Fatalf("no system identifier in %s", out)
	}
	return m[1]
}

func (c *Cluster) logPath() string { return filepath.Join(c.dir, "log") }

// Log returns what the server, and the commands that it ran, said.
func (c *Cluster) Log() string {
	data, err := os.ReadFile(c.logPath())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// AwaitLog waits until the log has a match of the pattern.
func (c *Cluster) AwaitLog(r Reporter, pattern string) {
	r.Helper()
	re := regexp.MustCompile(pattern)
	c.Await(r, "", func() bool { return re.MatchString(c.Log()) }, func() string { return "no " + pattern + " in the log:\n" + c.Log() })
}

// Await waits until the condition holds. The test fails with what, or what why says,
// and the server's log if it does not within a time that is long for anything.
func (c *Cluster) Await(r Reporter, what string, condition func() bool, why ...func() string) {
	r.Helper()
	if err := await(what, func() (bool, error) { return condition(), nil }); err != nil {
		for _, f := range why {
			what += f()
		}
		r.Fatalf("waited in vain: %s\n%s", what, c.Log())
	}
}

// Await waits for what no server has to do with.
func Await(r Reporter, what string, condition func() bool) {
	r.Helper()
	if err := await(what, func() (bool, error) { return condition(), nil }); err != nil {
		r.Fatalf("%v", err)
	}
}

func await(what string, condition func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; {
		ok, err := condition()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited in vain: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
