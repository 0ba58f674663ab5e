package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// world is a server whose WAL is archived by cp, and a base backup from before that.
type world struct {
	*pgtest.Host
	cleanups []func()
	exe      string // gpdedup, where the server's user can run it
	slow     string // the same with a storage that takes long to answer; empty: not built yet
	server   string // version
	segments int
	rounds   int
	dir      string
	primary  *pgtest.Cluster
	backup   *pgtest.Cluster
	plain    string   // the archive that cp made
	files    []string // its segments, in order
	found    results.Topic
	set      settings
	used     time.Duration // processor time of the commands of a run, as far as they were waited for
}

// world is a pgtest.Reporter: what goes wrong ends the measurement.
func (w *world) Helper()                           {}
func (w *world) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (w *world) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }
func (w *world) Cleanup(f func())                  { w.cleanups = append(w.cleanups, f) }

func (w *world) close() {
	for _, f := range slices.Backward(w.cleanups) {
		f()
	}
	_ = w.Close()
}

func newWorld(gpdedup string, segments, rounds int) (w *world, err error) {
	w = &world{segments: segments, rounds: rounds}
	if w.Host, err = pgtest.NewHost(); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
		if err != nil {
			w.close()
		}
	}()
	if w.exe, err = w.Install(gpdedup); err != nil {
		return nil, err
	}
	version, err := w.Run(w.Program("postgres"), "--version")
	if err != nil {
		return nil, err
	}
	w.server = strings.Fields(version)[2]
	w.dir = w.Mkdir(w)
	w.plain = filepath.Join(w.dir, "plain")
	if err := w.folder(w.plain); err != nil {
		return nil, err
	}
	return w, w.makeWAL()
}

// folder makes a directory that the server's user owns.
func (w *world) folder(path string) error {
	return errors.Join(os.MkdirAll(path, 0o755), w.Give(path))
}

// makeWAL makes a base backup, and as many segments after it as are wanted: about
// half of what pgbench writes as it makes its tables, half of its transactions.
func (w *world) makeWAL() error {
	w.Logf("making %d segments", w.segments)
	p := w.NewCluster(w, pgtest.Options{SegmentSize: 16, Settings: []string{
		"archive_mode = on", "archive_command = 'cp %p " + w.plain + "/%f'", "max_wal_size = 1GB", "checkpoint_timeout = 5min",
		"shared_buffers = 512MB", "max_wal_senders = 4", "synchronous_commit = off", // makes the same WAL sooner
	}})
	p.Start(w)
	w.primary = p
	bench := func(args ...string) error {
		_, err := w.Run(w.Program("pgbench"), append([]string{"-h", p.Socket(), "-U", "postgres"}, append(args, "postgres")...)...)
		return err
	}
	w.backup = p.BaseBackup(w)
	if err := bench("-i", "-q", "-s", fmt.Sprint(max(1, w.segments/2))); err != nil {
		return err
	}
	for {
		if err := bench("-c", "4", "-j", "2", "-N", "-t", "4000"); err != nil {
			return err
		}
		files, err := w.archived()
		if err != nil {
			return err
		}
		if len(files) >= w.segments {
			break
		}
	}
	p.Archived(w, p.SwitchWAL(w))
	p.SQL(w, "CHECKPOINT")
	p.Stop(w, "fast")
	files, err := w.archived()
	w.files = files
	w.segments = len(files)
	return err
}

// archived lists the segments that cp archived after the base backup began.
func (w *world) archived() ([]string, error) {
	entries, err := os.ReadDir(w.plain)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if len(e.Name()) == 24 {
			files = append(files, e.Name())
		}
	}
	return files, nil
}

// archive is a way to fetch WAL by some program.
type archive struct {
	name  string
	fetch string       // restore_command, as for a server
	clear func() error // forgets what was fetched ahead
}

// repository makes an archive of ours with all segments in it.
func (w *world) repository() (string, error) {
	dir := filepath.Join(w.dir, "repository")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := w.folder(dir); err != nil {
		return "", err
	}
	if _, err := w.Run(w.exe, "repo", "init", "--repo", dir, "--key-file", dir+".key"); err != nil {
		return "", err
	}
	w.Logf("archiving with gpdedup")
	for _, f := range w.files {
		if _, err := w.Run(w.exe, "wal", "push", "--repo", dir, "--key-file", dir+".key", "--pgdata", w.primary.Data, filepath.Join(w.plain, f)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// ours returns ways to fetch with gpdedup.
func (w *world) ours(name, exe, repository string, flags ...string) archive {
	spool := filepath.Join(w.dir, "spool")
	return archive{
		name: name,
		fetch: strings.Join(append([]string{exe, "wal", "fetch", "--repo", repository, "--key-file", repository + ".key", "--spool-dir", spool},
			append(flags, "%f", "%p")...), " "),
		clear: func() error { return removeSpool(spool) },
	}
}

// removeSpool removes the spool, in which the process that fetched ahead for the round before
// may make its last files yet.
func removeSpool(dir string) (err error) {
	for range 1000 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

func (w *world) cp() archive {
	return archive{name: "cp", fetch: "cp " + w.plain + "/%f %p", clear: func() error { return nil }}
}
