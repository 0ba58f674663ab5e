package fetchtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// What all tests share: a place for servers, the program, and an archive that some
// tests begin with a copy of.
var (
	host       *pgtest.Host
	executable string
	history    = sync.OnceValue(makeHistory)
)

func TestMain(m *testing.M) {
	syscall.Umask(0o077) // as a server has it
	os.Exit(pgtest.Main(m, &host, &executable))
}

// world is a repository that servers archive to and recover from.
type world struct {
	*testing.T
	dir   string
	flags []string // of every command
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: host.Mkdir(t)}
	w.use()
	w.must(os.Mkdir(w.repository(), 0o755))
	w.must(host.Give(w.dir))
	w.run("repo", "init")
	return w
}

func (w *world) use() {
	w.flags = []string{"--repo", w.repository(), "--key-file", filepath.Join(w.dir, "key"), "--cache-dir", filepath.Join(w.dir, "cache")}
}

func (w *world) repository() string { return filepath.Join(w.dir, "repository") }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// command prepares one of ours to be run as the server's user.
func (w *world) command(args ...string) *exec.Cmd {
	return host.Command(executable, append(args, w.flags...)...)
}

func (w *world) run(args ...string) string {
	w.Helper()
	out, err := w.command(args...).CombinedOutput()
	if err != nil {
		w.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ends runs one of ours and returns what it ends with, a code or a signal, and what it
// says.
func (w *world) ends(cmd *exec.Cmd) (string, string) {
	w.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if cmd.ProcessState == nil {
		w.Fatal(err)
	}
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return s.Signal().String(), said.String()
	}
	return strconv.Itoa(cmd.ProcessState.ExitCode()), said.String()
}

// archiving are a server's settings to archive to the repository.
func (w *world) archiving() []string {
	return []string{"archive_mode = on", "archive_command = '" + w.shell("wal push --cluster main %p") + "'"}
}

// restoring are settings to recover from it; more are flags of wal fetch.
func (w *world) restoring(more ...string) []string {
	return []string{"restore_command = '" + w.shell("wal fetch --cluster main "+strings.Join(more, " ")+" %f %p") + "'"}
}

func (w *world) shell(command string) string {
	return executable + " " + command + " " + strings.Join(w.flags, " ")
}

// object returns the path of a file's object, in the only epoch of the namespace.
func (w *world) object(file string) string {
	w.Helper()
	name, err := wal.ParseName(file)
	w.must(err)
	folder := file[:8]
	if name.Kind == wal.Segment || name.Kind == wal.Partial {
		folder = file[:16]
	}
	epochs, _ := filepath.Glob(filepath.Join(w.repository(), "wal", "main", "0", "*"))
	if len(epochs) != 1 {
		w.Fatalf("epochs: %v", epochs)
	}
	return filepath.Join(epochs[0], folder, file)
}

// hide takes an object, or the repository, away; the function brings it back.
func (w *world) hide(path string) (back func()) {
	w.Helper()
	w.must(os.Rename(path, path+".away"))
	return func() { w.Helper(); w.must(os.Rename(path+".away", path)) }
}

// damage changes a byte of an object; the function puts it right again.
func (w *world) damage(path string) (mend func()) {
	w.Helper()
	data, err := os.ReadFile(path)
	w.must(err)
	change := func() {
		data[len(data)/2] ^= 1
		w.must(os.WriteFile(path, data, 0o600))
	}
	change()
	return change
}

// past is an archive: of a server that wrote a row into each segment after its base
// backup.
type past struct {
	dir      string          // of the world
	backup   *pgtest.Cluster // not started
	segments []string        // that were archived since, the last one by the shutdown
	rows     int
	err      error
}

const pastRows = 12

// makeHistory makes the archive that tests copy. It is not any test's own.
func makeHistory() *past {
	p := &past{rows: pastRows}
	r := &failing{}
	defer func() {
		if v := recover(); v != nil {
			p.err = fmt.Errorf("%v", v)
		}
	}()
	t := &testing.T{} // for Helper alone
	w := &world{T: t, dir: filepath.Join(host.Dir(), "past")}
	w.use()
	for _, dir := range []string{w.dir, w.repository()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			r.Fatalf("%v", err)
		}
	}
	if err := host.Give(w.dir); err != nil {
		r.Fatalf("%v", err)
	}
	if out, err := w.command("repo", "init").CombinedOutput(); err != nil {
		r.Fatalf("%v: %s", err, out)
	}
	primary := host.NewCluster(r, pgtest.Options{Settings: w.archiving()})
	primary.Start(r)
	primary.SQL(r, "CREATE TABLE t (a int)")
	p.backup = primary.BaseBackup(r)
	for i := range pastRows {
		primary.SQL(r, fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
		p.segments = append(p.segments, primary.SwitchWAL(r))
	}
	primary.Archived(r, p.segments[len(p.segments)-1])
	primary.Stop(r, "fast")
	p.dir = w.dir
	return p
}

// failing is a pgtest.Reporter outside of a test. What it makes stays until the end.
type failing struct{}

func (*failing) Helper()                           {}
func (*failing) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*failing) Logf(string, ...any)               {}
func (*failing) Cleanup(func())                    {}

// pastWorld returns a world with a copy of the common archive, and a clone of its base
// backup.
func pastWorld(t *testing.T) (*world, *pgtest.Cluster) {
	t.Helper()
	p := history()
	if p.err != nil {
		t.Fatal(p.err)
	}
	w := &world{T: t, dir: filepath.Join(host.Mkdir(t), "w")}
	if out, err := host.Run("cp", "-a", p.dir, w.dir); err != nil {
		t.Fatal(err, out)
	}
	w.use()
	c := p.backup.Copy(t)
	c.Configure(t, "archive_mode = off")
	return w, c
}

// recovers starts a server that must recover to the last row.
func (w *world) recovers(c *pgtest.Cluster) {
	w.Helper()
	c.Start(w)
	c.AwaitPromoted(w)
	if got := c.SQL(w, "SELECT count(*) FROM t"); got != strconv.Itoa(pastRows) {
		w.Errorf("%s rows after the recovery, want %d:\n%s", got, pastRows, c.Log())
	}
}

// stays fails the test if the server has left timeline 1, in other words was promoted.
func (w *world) stays(c *pgtest.Cluster) {
	w.Helper()
	out, err := host.Run(c.Program("pg_controldata"), c.Data)
	w.must(err)
	if !strings.Contains(out, "Latest checkpoint's TimeLineID:       1\n") || strings.Contains(c.Log(), "selected new timeline") {
		w.Fatalf("the server began a timeline of its own:\n%s\n%s", out, c.Log())
	}
}

// stops starts a server that must end, with what the log must match, and not have been
// promoted.
func (w *world) stops(c *pgtest.Cluster, pattern string) {
	w.Helper()
	w.must(c.Launch())
	c.AwaitDown(w)
	c.AwaitLog(w, pattern)
	w.stays(c)
}

// fetching returns the processes of wal fetch for the server: the guard, and the child
// that does the work.
func (w *world) fetching(c *pgtest.Cluster) (guard, worker int) {
	w.Helper()
	c.Await(w, "a fetch is at work", func() bool {
		guard, worker = 0, 0
		for _, p := range pgtest.Processes() {
			dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID))
			switch {
			case dir != c.Data:
			case p.Program == executable:
				guard = p.PID
			case p.Program == "gpdedup-wal-fetch":
				worker = p.PID
			}
		}
		return guard != 0 && worker != 0
	})
	return guard, worker
}

// await is for what no server has to do with.
func (w *world) await(what string, condition func() bool) {
	w.Helper()
	pgtest.Await(w, what, condition)
}
