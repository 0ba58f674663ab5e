package basetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage/s3/s3test"
	"github.com/gpdedup/gpdedup/wal/base"
	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// What all tests share: a place for servers, and the program.
var (
	host       *pgtest.Host
	executable string
)

func TestMain(m *testing.M) {
	syscall.Umask(0o077) // as a server has it
	os.Exit(pgtest.Main(m, &host, &executable))
}

// world is a repository, with servers that archive to it.
type world struct {
	*testing.T
	dir   string
	flags []string // of every command
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: host.Mkdir(t)}
	w.flags = []string{"--repo", w.repository(), "--key-file", filepath.Join(w.dir, "key"), "--cache-dir", filepath.Join(w.dir, "cache")}
	w.must(os.Mkdir(w.repository(), 0o755))
	w.must(host.Give(w.dir))
	w.run("repo", "init", "--chunk-size", "64KiB")
	return w
}

// newBucket is a world whose repository is in a bucket.
func newBucket(t *testing.T) *world {
	t.Helper()
	s := s3test.Start(t)
	w := &world{T: t, dir: host.Mkdir(t)}
	config := filepath.Join(w.dir, "gpdedup.yaml")
	w.must(os.WriteFile(config, fmt.Appendf(nil, "executablepath: %s\noptions:\n  repository: s3://%s/base\n  endpoint: %s\n  region: %s\n"+
		"  access_key_id: %s\n  secret_access_key: file:%s/secret\n  key_file: %s/key\n", executable, s.Bucket, s.Endpoint, s.Region, s.AccessKey, w.dir, w.dir), 0o600))
	w.must(os.WriteFile(filepath.Join(w.dir, "secret"), []byte(s.SecretKey), 0o600))
	w.flags = []string{"--config", config, "--cache-dir", filepath.Join(w.dir, "cache")}
	w.must(host.Give(w.dir))
	w.run("repo", "init", "--chunk-size", "64KiB")
	return w
}

func (w *world) repository() string { return filepath.Join(w.dir, "repository") }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// command prepares one of ours to be run as the servers' user.
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

// fails runs one of ours, which must end with the exit code, and returns what it says.
func (w *world) fails(code int, args ...string) string {
	w.Helper()
	cmd := w.command(args...)
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		w.Fatalf("%s: %v, want exit code %d\n%s", strings.Join(args, " "), cmd.ProcessState, code, out)
	}
	return string(out)
}

// primary starts a server that archives to the repository.
func (w *world) primary(settings ...string) *pgtest.Cluster {
	w.Helper()
	settings = append(settings, "archive_mode = on",
		"archive_command = '"+executable+" wal push --cluster main %p "+strings.Join(w.flags, " ")+"'")
	c := host.NewCluster(w, pgtest.Options{Settings: settings})
	c.Start(w)
	return c
}

// dsn is how to reach a server.
func dsn(c *pgtest.Cluster) string { return "host=" + c.Socket() + " user=postgres" }

// push takes a base backup.
func (w *world) push(c *pgtest.Cluster, label string, args ...string) {
	w.Helper()
	w.run(append([]string{"base", "push", "--cluster", "main", "--dsn", dsn(c), "--label", label}, args...)...)
}

// restore makes a cluster of a backup, without starting it.
func (w *world) restore(args ...string) *pgtest.Cluster {
	w.Helper()
	c := host.Adopt(w)
	w.run(append([]string{"base", "restore", "--cluster", "main", "--fetch-patience", "2s", "--target-dir", c.Data}, args...)...)
	if out, err := host.Run(host.Program("pg_verifybackup"), "-n", c.Data); err != nil {
		w.Fatalf("pg_verifybackup: %v\n%s", err, out)
	}
	c.Configure(w, "unix_socket_directories = '"+c.Socket()+"'")
	return c
}

// recovered restores, starts, and waits until the server takes writes.
func (w *world) recovered(args ...string) *pgtest.Cluster {
	w.Helper()
	c := w.restore(args...)
	c.Start(w)
	c.AwaitPromoted(w)
	return c
}

// list is what base list --json says.
func (w *world) list(args ...string) []base.Row {
	w.Helper()
	cmd := w.command(append([]string{"base", "list", "--cluster", "main", "--json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.Fatalf("base list: %v\n%s", err, &stderr)
	}
	var rows []base.Row
	w.must(json.Unmarshal(out, &rows))
	return rows
}

// archived makes sure that all WAL up to now is in the archive.
func (w *world) archived(c *pgtest.Cluster) string {
	w.Helper()
	file := c.SwitchWAL(w)
	c.Archived(w, file)
	return file
}

// wal returns the paths of a segment's object.
func (w *world) wal(file string) string {
	w.Helper()
	found, _ := filepath.Glob(filepath.Join(w.repository(), "wal", "main", "0", "*", "*", file))
	if len(found) != 1 {
		w.Fatalf("%s is in the archive %d times", file, len(found))
	}
	return found[0]
}

// segments are the names of the segments in the archive, ascending.
func (w *world) segments() []string {
	found, _ := filepath.Glob(filepath.Join(w.repository(), "wal", "main", "0", "*", "????????????????", "????????????????????????"))
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

// age makes backups older by the storage's clock: the first by two days, each after it
// by two more.
func (w *world) age(t *testing.T, labels ...string) {
	t.Helper()
	for i, label := range labels {
		then := time.Now().Add(-time.Duration(i+1) * 48 * time.Hour)
		w.must(os.Chtimes(filepath.Join(w.repository(), "manifests", "base", "main", "0", label), then, then))
	}
}
