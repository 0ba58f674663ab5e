package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Reporter is what a test, or a benchmark, offers: a *testing.T is one. Fatalf must
// not return.
type Reporter interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(f func())
}

// Programs is where Debian keeps the server's programs; the variable PGBIN overrides it.
const Programs = "/usr/lib/postgresql/15/bin"

// serverUser is who servers run as where we are root: nobody.
const serverUser = 65534

// patience bounds every wait. It is long, because it is only ever used up by a failure.
const patience = 60 * time.Second

// Host is a directory and a user for servers. It is safe for concurrent use.
type Host struct {
	dir  string
	bin  string
	user uint32
	root bool

	mu        sync.Mutex
	templates map[string]*template
	clusters  int
}

// template is what initdb made with some arguments; clusters are copies.
type template struct {
	once sync.Once
	dir  string
	err  error
}

// NewHost makes a directory for servers. Remove it with Close.
func NewHost() (*Host, error) {
	h := &Host{bin: Programs, root: os.Geteuid() == 0, templates: map[string]*template{}}
	if bin := os.Getenv("PGBIN"); bin != "" {
		h.bin = bin
	}
	if _, err := os.Stat(h.Program("initdb")); err != nil {
		return nil, fmt.Errorf("PostgreSQL's programs are needed (make debs installs them; PGBIN names another place): %w", err)
	}
	// Short, because the path of a socket has 107 bytes.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	h.dir = dir
	if h.root {
		h.user = serverUser
		if err := os.Chown(dir, serverUser, serverUser); err != nil {
			return nil, err
		}
	}
	return h, os.Chmod(dir, 0o755)
}

// Close removes everything. Servers must have been stopped: tests do that by themselves.
func (h *Host) Close() error { return os.RemoveAll(h.dir) }

// Dir is the host's directory. The user of the servers owns it.
func (h *Host) Dir() string { return h.dir }

// Program returns the path of one of PostgreSQL's programs.
func (h *Host) Program(name string) string { return filepath.Join(h.bin, name) }

// Mkdir makes a directory for the test, which the user of the servers owns.
func (h *Host) Mkdir(r Reporter) string {
	r.Helper()
	dir, err := os.MkdirTemp(h.dir, "d")
	if err == nil {
		err = h.Give(dir)
	}
	if err != nil {
		r.Fatalf("make directory: %v", err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Give makes path, and all below it, the property of the servers' user.
func (h *Host) Give(path string) error {
	if !h.root {
		return nil
	}
	return filepath.Walk(path, func(p string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, int(h.user), int(h.user))
	})
}

// Install copies a program to where the servers' user can run it, and returns its path.
func (h *Host) Install(program string) (string, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	path := filepath.Join(h.dir, filepath.Base(program))
	if err := os.WriteFile(path, data, 0o755); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o755)
}

// Command prepares a program to run as the servers' user, in the host's directory and
// with nearly nothing in its environment, as a server's children have it.
func (h *Host) Command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = h.dir
	cmd.Env = []string{"PATH=" + h.bin + ":" + os.Getenv("PATH"), "HOME=" + h.dir, "LC_ALL=C", "TZ=UTC"}
	if h.root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: h.user, Gid: h.user}}
	}
	return cmd
}

// Run runs a program as the servers' user and returns what it said.
func (h *Host) Run(program string, args ...string) (string, error) {
	out, err := h.Command(program, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// Options say what cluster to make.
type Options struct {
	SegmentSize int      // of the WAL, in MiB; 0: 1
	Settings    []string // lines for postgresql.conf
}

// NewCluster makes a cluster. It is not started; the test's end stops it.
func (h *Host) NewCluster(r Reporter, o Options) *Cluster {
	r.Helper()
	if o.SegmentSize == 0 {
		o.SegmentSize = 1
	}
	from, err := h.template(o.SegmentSize)
	if err != nil {
		r.Fatalf("make cluster: %v", err)
	}
	c := h.adopt(r, "")
	if out, err := h.Run("cp", "-a", from, c.Data); err != nil {
		r.Fatalf("make cluster: %v: %s", err, out)
	}
	// Its own system identifier: copies of one template are one cluster to PostgreSQL.
	c.newIdentity(r)
	c.Configure(r, append(basics(c.dir, o.SegmentSize), o.Settings...)...)
	return c
}

func (h *Host) template(segmentSize int) (string, error) {
	key := strconv.Itoa(segmentSize)
	h.mu.Lock()
	t := h.templates[key]
	if t == nil {
		t = &template{dir: filepath.Join(h.dir, "template-"+key)}
		h.templates[key] = t
	}
	h.mu.Unlock()
	t.once.Do(func() {
		_, t.err = h.Run(h.Program("initdb"), "-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C",
			"--wal-segsize="+key, "-D", t.dir)
	})
	return t.dir, t.err
}

// Adopt makes the place for a cluster whose data directory the test makes.
func (h *Host) Adopt(r Reporter) *Cluster {
	r.Helper()
	return h.adopt(r, "")
}

// adopt makes the place for a cluster whose data directory the caller fills.
func (h *Host) adopt(r Reporter, data string) *Cluster {
	r.Helper()
	h.mu.Lock()
	h.clusters++
	dir := filepath.Join(h.dir, "c"+strconv.Itoa(h.clusters))
	h.mu.Unlock()
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = h.Give(dir)
	}
	if err != nil {
		r.Fatalf("make cluster: %v", err)
	}
	if data == "" {
		data = filepath.Join(dir, "data")
	}
	c := &Cluster{Host: h, Data: data, dir: dir}
	r.Cleanup(func() {
		c.halt()
		_ = os.RemoveAll(dir)
	})
	return c
}

// basics are settings that make servers quick and small.
func basics(socketDir string, segmentSize int) []string {
	return []string{
		"listen_addresses = ''",
		"unix_socket_directories = '" + socketDir + "'",
		"fsync = off",
		"shared_buffers = 16MB",
		"max_connections = 20",
		"autovacuum = off",
		"jit = off",
		fmt.Sprintf("min_wal_size = %dMB", max(2*segmentSize, 2)),
		fmt.Sprintf("max_wal_size = %dMB", max(64, 4*segmentSize)),
		"wal_retrieve_retry_interval = '100ms'",
		"log_line_prefix = '%b '",
		"logging_collector = off",
		"checkpoint_timeout = 1h",
		"wal_keep_size = 0",
		"hot_standby = on",
	}
}
