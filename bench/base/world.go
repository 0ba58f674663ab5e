package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/size"
	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// world is a server, and where backups of it go.
type world struct {
	host     *pgtest.Host
	exe      string
	dir      string
	primary  *pgtest.Cluster
	size     int64    // of the data directory at the end, in bytes
	versions []string // of the server, and of the others
	cleanups []func()
}

// What pgtest asks of a test.

func (w *world) Helper()                           {}
func (w *world) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (w *world) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }
func (w *world) Cleanup(f func())                  { w.cleanups = append(w.cleanups, f) }

func (w *world) close() {
	for i := len(w.cleanups) - 1; i >= 0; i-- {
		w.cleanups[i]()
	}
	_ = w.host.Close()
}

func newWorld(gpdedup string) (*world, error) {
	host, err := pgtest.NewHost()
	if err != nil {
		return nil, err
	}
	w := &world{host: host}
	if w.exe, err = host.Install(gpdedup); err != nil {
		return nil, err
	}
	w.dir = host.Mkdir(w)
	version, err := host.Run(host.Program("postgres"), "--version")
	w.versions = []string{version}
	return w, err
}

// contender is one way to keep base backups.
type contender struct {
	name    string
	archive string // command for a file of WAL, or ""
	backup  func(day int) error
	fetch   func(to string) error // restores the last backup
	folder  string                // what its backups take is in there
	seconds []float64
	stored  []int64
	restore float64
}

func (w *world) measure(list []*contender, rows, days int) error {
	commands := []string{"true"}
	for _, c := range list {
		if c.archive != "" {
			commands = append(commands, c.archive)
		}
	}
	w.primary.Configure(w, "archive_mode = on", "archive_command = '"+strings.Join(commands, " && ")+"'", "max_wal_size = 4GB", "shared_buffers = 128MB")
	w.primary.Start(w)
	w.Logf("making %d rows", rows)
	w.primary.SQL(w, fmt.Sprintf("CREATE TABLE t AS SELECT i AS id, i %% 1000 AS part, md5(i::text) || md5((i * 7)::text) || md5((i * 13)::text) AS a, "+
		"now() AS changed, repeat(chr(97 + i %% 26), 40) AS b FROM generate_series(1, %d) i", rows))
	w.primary.SQL(w, "ALTER TABLE t ADD PRIMARY KEY (id); CHECKPOINT")
	for _, c := range list {
		if setup, ok := setups[c.name]; ok {
			if err := setup(w, c); err != nil {
				return err
			}
		}
	}
	for day := 1; day <= days; day++ {
		if day > 1 {
			w.primary.SQL(w, fmt.Sprintf("UPDATE t SET changed = now(), part = part + 1 WHERE hashint4(id + %d) %% 100 = 0", day*1000))
			w.primary.SQL(w, "VACUUM t")
			w.primary.SQL(w, "CHECKPOINT")
		}
		w.primary.Archived(w, w.primary.SwitchWAL(w))
		for _, c := range list {
			begin := time.Now()
			if err := c.backup(day); err != nil {
				return fmt.Errorf("%s, day %d: %w", c.name, day, err)
			}
			c.seconds = append(c.seconds, time.Since(begin).Seconds())
			n, err := size.Of(c.folder, "wal") // of a repository of ours, WAL is not what a base backup takes
			if err != nil {
				return err
			}
			c.stored = append(c.stored, n)
			w.Logf("day %d: %s: %.1f s, %d MiB stored", day, c.name, c.seconds[day-1], n>>20)
		}
	}
	var err error
	if w.size, err = size.Of(filepath.Join(w.primary.Data, "base")); err != nil {
		return err
	}
	for _, c := range list {
		to := filepath.Join(w.host.Mkdir(w), "restored")
		begin := time.Now()
		if err := c.fetch(to); err != nil {
			return fmt.Errorf("restore %s: %w", c.name, err)
		}
		c.restore = time.Since(begin).Seconds()
		w.Logf("restore: %s: %.1f s", c.name, c.restore)
		_ = os.RemoveAll(to)
	}
	return nil
}

// setups are what some need when the server runs.
var setups = map[string]func(*world, *contender) error{}

func (w *world) contenders() ([]*contender, error) {
	w.primary = w.host.NewCluster(w, pgtest.Options{SegmentSize: 16})
	ours, err := w.ours()
	if err != nil {
		return nil, err
	}
	list := []*contender{ours, w.plain()}
	rest, err := w.pgBackRest()
	return append(list, rest...), err
}

func (w *world) run(program string, args ...string) error {
	out, err := w.host.Run(program, args...)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func (w *world) ours() (*contender, error) {
	repository, key, cache := filepath.Join(w.dir, "repo"), filepath.Join(w.dir, "key"), filepath.Join(w.dir, "cache")
	if err := os.Mkdir(repository, 0o755); err != nil {
		return nil, err
	}
	if err := w.host.Give(w.dir); err != nil {
		return nil, err
	}
	flags := []string{"--cluster", "main", "--repo", repository, "--key-file", key, "--cache-dir", cache}
	if err := w.run(w.exe, "repo", "init", "--repo", repository, "--key-file", key); err != nil {
		return nil, err
	}
	c := &contender{name: "gpdedup", archive: w.exe + " wal push " + strings.Join(flags, " ") + " %p", folder: repository}
	c.backup = func(int) error {
		return w.run(w.exe, append([]string{"base", "push", "--dsn", "host=" + w.primary.Socket() + " user=postgres"}, flags...)...)
	}
	c.fetch = func(to string) error {
		return w.run(w.exe, append([]string{"base", "restore", "--target-dir", to}, flags...)...)
	}
	return c, nil
}

// plain is pg_basebackup, of which every day is kept, compressed by itself.
func (w *world) plain() *contender {
	folder := w.host.Mkdir(w)
	last := ""
	c := &contender{name: "pg_basebackup, zstd", folder: folder}
	c.backup = func(day int) error {
		last = filepath.Join(folder, fmt.Sprint(day))
		return w.run(w.host.Program("pg_basebackup"), "-h", w.primary.Socket(), "-U", "postgres", "-D", last, "-Ft", "-Z", "client-zstd", "-X", "none", "-c", "fast")
	}
	c.fetch = func(to string) error {
		if err := w.run("mkdir", "-m", "700", to); err != nil {
			return err
		}
		if err := w.run("tar", "-C", to, "--zstd", "-xf", filepath.Join(last, "base.tar.zst")); err != nil {
			return err
		}
		return w.run("sync", "-f", to) // as the others do
	}
	return c
}

// pgBackRest is two contenders: one that keeps full backups, one that keeps a full one and
// then incremental ones. None where it is not installed.
func (w *world) pgBackRest() ([]*contender, error) {
	program, err := exec.LookPath("pgbackrest")
	if err != nil {
		return nil, nil //nolint:nilerr // it is not installed
	}
	version, err := w.host.Run(program, "version")
	if err != nil {
		return nil, err
	}
	w.versions = append(w.versions, version)
	var list []*contender
	dir := w.host.Mkdir(w)
	config := "[global]\nlog-path=" + dir + "\nlock-path=" + dir + "\nspool-path=" + dir + "\nlog-level-console=warn\nlog-level-file=off\ncompress-type=zst\n" +
		"process-max=2\nstart-fast=y\narchive-timeout=300\n"
	for i, name := range []string{"full", "incr"} {
		folder := w.host.Mkdir(w)
		config += fmt.Sprintf("repo%d-path=%s\nrepo%d-retention-full=9\n", i+1, folder, i+1)
		c := &contender{name: "pgBackRest, " + name, folder: filepath.Join(folder, "backup")}
		list = append(list, c)
	}
	config += "[main]\npg1-path=" + w.primary.Data + "\npg1-socket-path=" + w.primary.Socket() + "\npg1-user=postgres\n"
	path := filepath.Join(dir, "pgbackrest.conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, err
	}
	flags := []string{"--config=" + path, "--stanza=main"}
	list[0].archive = program + " " + strings.Join(flags, " ") + " archive-push %p"
	setups[list[0].name] = func(w *world, _ *contender) error {
		return w.run(program, append(flags, "stanza-create")...)
	}
	for i, c := range list {
		repo := fmt.Sprintf("--repo=%d", i+1)
		c.backup = func(int) error {
			kind := "--type=full"
			if strings.HasSuffix(c.name, "incr") {
				kind = "--type=incr" // the first becomes a full one
			}
			return w.run(program, append(flags, repo, kind, "backup")...)
		}
		c.fetch = func(to string) error {
			if err := w.run("mkdir", "-m", "700", to); err != nil {
				return err
			}
			return w.run(program, append(flags, repo, "--pg1-path="+to, "restore")...)
		}
	}
	return list, nil
}
