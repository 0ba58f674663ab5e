package fetchtest

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// TestRecovery: a server that recovers from the archive gets to its end, and begins a
// new timeline there.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		flags []string
	}{
		{"fetched ahead", nil},
		{"one by one", []string{"--prefetch", "0"}},
		{"little room", []string{"--prefetch", "2MiB"}},
		{"spool on another file system", []string{"--spool-dir", "SHM"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, c := pastWorld(t)
			for i, f := range test.flags {
				if f == "SHM" {
					dir, err := os.MkdirTemp("/dev/shm", "gpdedup-test-*")
					w.must(err)
					t.Cleanup(func() { _ = os.RemoveAll(dir) })
					w.must(host.Give(dir))
					test.flags[i] = dir
				}
			}
			c.Configure(t, w.restoring(test.flags...)...)
			c.Touch(t, "recovery.signal")
			w.recovers(c)
			if strings.Contains(c.Log(), "gpdedup:") {
				t.Errorf("something was said in the server's log:\n%s", c.Log())
			}
		})
	}
}

// TestNeverPromotes: whatever keeps a segment from a server that recovers, it does not
// take that for the end of the WAL; and when the cause is gone, it recovers to the end.
func TestNeverPromotes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		flags string
		spoil func(w *world) (mend func())
		log   string
	}{
		{"hole", "--patience 1s", func(w *world) func() { return w.hide(w.object(history().segments[6])) }, `exit code 202`},
		{"hole of two", "--patience 0s", func(w *world) func() {
			one, two := w.hide(w.object(history().segments[6])), w.hide(w.object(history().segments[7]))
			return func() { one(); two() }
		}, `exit code 202`},
		{"damaged", "", func(w *world) func() { return w.damage(w.object(history().segments[6])) }, `exit code 201`},
		{"empty object", "", func(w *world) func() {
			path := w.object(history().segments[6])
			data, err := os.ReadFile(path)
			w.must(err)
			w.must(os.WriteFile(path, nil, 0o600))
			return func() { w.must(os.WriteFile(path, data, 0o600)) }
		}, `exit code 201`},
		{"repository away", "--patience 1s", func(w *world) func() { return w.hide(w.repository()) }, `exit code 200`},
		{"no key", "--patience 0s", func(w *world) func() { return w.hide(w.dir + "/key") }, `exit code 200`},
		{"misspelt flag", "--patiense 1s", nil, `exit code 200`},
		{"namespace that holds nothing", "--namespace main --content 7", nil, `(?s)nothing was ever archived.*exit code 200`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, c := pastWorld(t)
			c.Configure(t, w.restoring(test.flags)...)
			c.Touch(t, "recovery.signal")
			mend := func() { c.Configure(t, w.restoring()...) }
			if test.spoil != nil {
				mend = test.spoil(w)
			}
			w.stops(c, test.log)
			mend()
			w.recovers(c)
		})
	}
}

// TestMisspelt: not even a command that is none ends like the archive.
func TestMisspelt(t *testing.T) {
	t.Parallel()
	w, c := pastWorld(t)
	c.Configure(t, "restore_command = '"+w.shell("wal fecth --cluster main %f %p")+"'")
	c.Touch(t, "recovery.signal")
	w.stops(c, `exit code 200`)
	c.Configure(t, "restore_command = '/no/such/gpdedup wal fetch --cluster main %f %p'")
	w.stops(c, `FATAL:  could not restore file .*: command not found`)
	c.Configure(t, w.restoring()...)
	w.recovers(c)
}

// TestNoneButItsOwn: the archive of another cluster is not an archive without the file.
func TestNoneButItsOwn(t *testing.T) {
	t.Parallel()
	w, _ := pastWorld(t)
	other := host.NewCluster(t, pgtest.Options{Settings: w.restoring()})
	other.Start(t)
	other.SQL(t, "CREATE TABLE t (a int)")
	backup := other.BaseBackup(t, "-X", "stream")
	backup.Touch(t, "recovery.signal")
	w.stops(backup, `(?s)another cluster.*exit code 203`)
}

// TestEndedBySignals: a fetch that is killed, in whatever way, is not one that found
// nothing.
func TestEndedBySignals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		signal syscall.Signal
		guard  bool
		log    string
	}{
		{"guard terminated", syscall.SIGTERM, true, ""},
		{"guard quit", syscall.SIGQUIT, true, `exit code 131|signal 3`},
		{"guard killed", syscall.SIGKILL, true, `exit code 137|signal 9`},
		{"worker terminated", syscall.SIGTERM, false, ""},
		{"worker killed, as by the kernel when memory is short", syscall.SIGKILL, false, `exit code 204`},
		{"worker's runtime fails", syscall.SIGABRT, false, `(?s)failed: it (ended with status 2: SIGABRT: abort|was killed by signal 6).*exit code 204`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, c := pastWorld(t)
			c.Configure(t, w.restoring()...)
			c.Touch(t, "recovery.signal")
			back := w.hide(w.repository()) // so that it waits
			w.must(c.Launch())
			guard, worker := w.fetching(c)
			pid := worker
			if test.guard {
				pid = guard
			}
			w.must(syscall.Kill(pid, test.signal))
			c.AwaitDown(t)
			c.AwaitLog(t, test.log)
			w.stays(c)
			for _, trace := range []string{"goroutine ", "SIGQUIT: quit"} {
				if strings.Contains(c.Log(), trace) {
					t.Errorf("the server's log has a stack trace:\n%s", c.Log())
				}
			}
			w.await("nothing is left of the fetch", func() bool {
				return syscall.Kill(guard, 0) != nil && syscall.Kill(worker, 0) != nil
			})
			back()
			w.recovers(c)
		})
	}
}

// TestShutdown: a server that waits for a file can be shut down, at once and without a
// word of ours, and nothing of the fetch outlives it.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"fast", "immediate"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w, c := pastWorld(t)
			c.Configure(t, w.restoring("--patience", "1h")...)
			c.Touch(t, "recovery.signal")
			back := w.hide(w.repository())
			w.must(c.Launch())
			guard, worker := w.fetching(c)
			c.Stop(t, mode)
			w.await("nothing is left of the fetch", func() bool {
				return syscall.Kill(guard, 0) != nil && syscall.Kill(worker, 0) != nil
			})
			w.stays(c)
			if strings.Contains(c.Log(), "gpdedup:") || strings.Contains(c.Log(), "goroutine") {
				t.Errorf("something was said in the server's log:\n%s", c.Log())
			}
			back()
			w.recovers(c)
		})
	}
}

// TestTarget: a server that recovers up to a point does not end before it.
func TestTarget(t *testing.T) {
	t.Parallel()
	w, c := pastWorld(t)
	c.Configure(t, append(w.restoring("--patience", "0s"), "recovery_target_xid = '4000000000'")...)
	c.Touch(t, "recovery.signal")
	back := w.hide(w.object(history().segments[6]))
	w.stops(c, `exit code 202`)
	back()
	// The end of the archive is before the target. PostgreSQL itself ends then.
	w.stops(c, `recovery ended before configured recovery target was reached`)
	c.Configure(t, "recovery_target_xid = ''")
	w.recovers(c)
}

// TestStandby: a standby outlives everything, and goes on when it can.
func TestStandby(t *testing.T) {
	t.Parallel()
	w, c := pastWorld(t)
	rows := func(n string) { c.AwaitSQL(t, "SELECT count(*) FROM t", n) }
	segments := history().segments
	hole := w.hide(w.object(segments[3]))
	mend := w.damage(w.object(segments[6]))
	away := w.hide(w.repository())
	c.Configure(t, w.restoring()...)
	c.Touch(t, "standby.signal")
	w.must(c.Launch())
	// The backup cannot be used before its end is there, so the server answers later.
	c.AwaitLog(t, `(?s)(gpdedup: wal fetch: open repository.*){3}`)
	away()
	rows("3")
	hole()
	rows("6")
	c.AwaitLog(t, `gpdedup: wal fetch: .*`+segments[6])
	_, worker := 0, 0
	mend()
	rows("12")
	// One that is killed is as good as one that failed.
	back := w.hide(w.repository())
	for range 3 {
		// It asks again and again, each time with new processes.
		c.AwaitLog(t, `gpdedup: wal fetch: open repository`)
	}
	back()
	_ = worker
	c.Promote(t)
	if got := c.SQL(t, "SELECT count(*) FROM t"); got != "12" {
		t.Errorf("%s rows after the promotion", got)
	}
}
