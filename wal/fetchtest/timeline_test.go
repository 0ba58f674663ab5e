package fetchtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// fork makes an archive with three timelines. Timeline 1 goes on for a while after
// timeline 2 left it, as that of an old primary does that is still alive; and so does
// 2 after 3 left it.
//
// The backup is of timeline 1. Rows say on which timeline they were written, and
// whether before or after it was left.
func fork(w *world) (backup *pgtest.Cluster) {
	w.Helper()
	first := host.NewCluster(w, pgtest.Options{Settings: append(w.archiving(), w.restoring()...)})
	first.Start(w)
	first.SQL(w, "CREATE TABLE t (timeline int, after bool)")
	write := func(c *pgtest.Cluster, timeline int, after bool) {
		w.Helper()
		for range 3 {
			c.SQL(w, fmt.Sprintf("INSERT INTO t VALUES (%d, %t)", timeline, after))
			c.SwitchWAL(w)
		}
		c.SQL(w, fmt.Sprintf("INSERT INTO t VALUES (%d, %t)", timeline, after))
		c.Archived(w, c.SwitchWAL(w))
	}
	follow := func(c *pgtest.Cluster, rows string) {
		w.Helper()
		c.Touch(w, "standby.signal")
		c.Start(w)
		c.AwaitSQL(w, "SELECT count(*) FROM t", rows)
	}
	backup = first.BaseBackup(w)
	second := first.BaseBackup(w)
	write(first, 1, false)
	follow(second, "4")
	second.Promote(w)
	write(first, 1, true)
	first.Stop(w, "fast")
	second.SQL(w, "CHECKPOINT")
	third := second.BaseBackup(w)
	write(second, 2, false)
	follow(third, "8")
	third.Promote(w)
	write(second, 2, true)
	second.Stop(w, "fast")
	write(third, 3, false)
	third.Stop(w, "fast")
	backup.Configure(w, "archive_mode = off")
	return backup
}

// TestTimelines: a server finds its way over three timelines, whichever it is told to
// follow, with what is fetched ahead from the right one.
func TestTimelines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	backup := fork(w)
	const all = "SELECT string_agg(timeline || CASE WHEN after THEN 'after' ELSE '' END || '*' || n, ' ' ORDER BY timeline, after)" +
		" FROM (SELECT timeline, after, count(*) AS n FROM t GROUP BY 1, 2) x"
	for _, test := range []struct{ target, rows string }{
		{"latest", "1*4 2*4 3*4"},
		{"2", "1*4 2*4 2after*4"},
		{"current", "1*4 1after*4"},
	} {
		t.Run(test.target, func(t *testing.T) {
			c := backup.Copy(t)
			c.Configure(t, w.restoring()...)
			c.Configure(t, "recovery_target_timeline = '"+test.target+"'")
			c.Touch(t, "recovery.signal")
			c.Start(t)
			c.AwaitPromoted(t)
			if got := c.SQL(t, all); got != test.rows {
				t.Errorf("recovered %q, want %q:\n%s", got, test.rows, c.Log())
			}
			// Its own must be a number that nobody has.
			if !strings.Contains(c.Log(), "selected new timeline ID: 4\n") {
				t.Errorf("it is on another timeline than 4:\n%s", c.Log())
			}
		})
	}
	t.Run("hole on the way", func(t *testing.T) {
		// The last segment that is timeline 1's alone.
		histories, _ := filepath.Glob(w.object("00000002.history"))
		if len(histories) != 1 {
			t.Fatal("no history of timeline 2")
		}
		segments, _ := filepath.Glob(filepath.Dir(w.object("000000020000000000000001")) + "/*")
		begin := filepath.Base(segments[0])[8:]
		var last string
		ones, _ := filepath.Glob(filepath.Dir(w.object("000000010000000000000001")) + "/*")
		for _, o := range ones {
			if n := filepath.Base(o); len(n) == 24 && n[8:] < begin {
				last = n
			}
		}
		w := &world{T: t, dir: w.dir, flags: w.flags}
		back := w.hide(w.object(last))
		var backs []func()
		// And all of timeline 1 behind it: only the later timelines tell.
		for _, o := range ones {
			if n := filepath.Base(o); len(n) == 24 && n > last {
				backs = append(backs, w.hide(o))
			}
		}
		c := backup.Copy(t)
		c.Configure(t, w.restoring("--patience", "0s")...)
		c.Touch(t, "recovery.signal")
		w.stops(c, `(?s)`+last+`.*timeline 2 went on from.*exit code 202`)
		back()
		for _, b := range backs {
			b()
		}
	})
	t.Run("history lost", func(t *testing.T) {
		w := &world{T: t, dir: w.dir, flags: w.flags}
		back := w.hide(w.object("00000002.history"))
		c := backup.Copy(t)
		c.Configure(t, w.restoring("--patience", "0s")...)
		c.Touch(t, "recovery.signal")
		w.stops(c, `(?s)00000002.history is missing.*exit code 202`)
		back()
		c.Start(t)
		c.AwaitPromoted(t)
		if got := c.SQL(t, "SELECT count(*) FROM t"); got != "12" {
			t.Errorf("%s rows", got)
		}
	})
}

// TestOwnSegments: what the archive lacks but the server has itself is no hole.
func TestOwnSegments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := host.NewCluster(t, pgtest.Options{Settings: w.archiving()})
	c.Start(t)
	c.SQL(t, "CREATE TABLE t AS SELECT 1 AS a")
	backup := c.BaseBackup(t, "-X", "stream")
	c.SQL(t, "INSERT INTO t VALUES (2)")
	c.SwitchWAL(t)
	c.SQL(t, "INSERT INTO t VALUES (3)")
	c.Archived(t, c.SwitchWAL(t))
	c.Stop(t, "fast")
	own, _ := filepath.Glob(filepath.Join(backup.Data, "pg_wal", "0*"))
	if len(own) == 0 {
		t.Fatal("the backup has no WAL")
	}
	w.hide(w.object(filepath.Base(own[0])))
	backup.Configure(t, append(w.restoring("--patience", "0s"), "archive_mode = off")...)
	backup.Touch(t, "recovery.signal")
	backup.Start(t)
	backup.AwaitPromoted(t)
	if got := backup.SQL(t, "SELECT count(*) FROM t"); got != "3" {
		t.Errorf("%s rows, want 3:\n%s", got, backup.Log())
	}
}

// TestRewind: pg_rewind gets what its target has thrown away out of the archive, from
// the newest segment to the oldest.
func TestRewind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := host.NewCluster(t, pgtest.Options{Settings: append(append(w.archiving(), w.restoring()...), "wal_log_hints = on", "full_page_writes = on")})
	old.Start(t)
	old.SQL(t, "CREATE TABLE t AS SELECT 1 AS a")
	standby := old.BaseBackup(t)
	old.Archived(t, old.Fill(t, 2))
	standby.Touch(t, "standby.signal")
	standby.Start(t)
	standby.AwaitSQL(t, "SELECT count(*) FROM t", "1")
	standby.Promote(t)
	standby.SQL(t, "INSERT INTO t VALUES (2); CHECKPOINT")
	// The old one goes on for a while, and recycles what it would need to go back.
	for range 4 {
		old.SQL(t, "INSERT INTO t VALUES (10)")
		old.SwitchWAL(t)
	}
	old.Archived(t, old.SwitchWAL(t))
	old.SQL(t, "CHECKPOINT")
	old.Stop(t, "fast")
	standby.Stop(t, "fast")
	// All but the segment with its last checkpoint, which is never taken away.
	control, err := host.Run(host.Program("pg_controldata"), old.Data)
	w.must(err)
	kept, _ := filepath.Glob(filepath.Join(old.Data, "pg_wal", "00000001*"))
	for _, k := range kept {
		if strings.Contains(control, filepath.Base(k)) {
			continue
		}
		if _, err := host.Run("rm", k); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefetch := range []string{"256MiB", "0"} {
		rewound := old.Copy(t)
		rewound.Configure(t, w.restoring("--prefetch", prefetch)...)
		out, err := host.Run(host.Program("pg_rewind"), "-D", rewound.Data, "--source-pgdata", standby.Data, "-c", "--no-sync")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if left, _ := filepath.Glob(filepath.Join(rewound.Data, "pg_wal", "*gpdedup*")); len(left) > 0 {
			t.Errorf("left in pg_wal: %v", left)
		}
		rewound.Configure(t, "unix_socket_directories = '"+rewound.Socket()+"'", "archive_mode = off")
		rewound.Start(t)
		if got := rewound.SQL(t, "SELECT string_agg(a::text, ' ' ORDER BY a) FROM t"); got != "1 2" {
			t.Errorf("rows %q after the rewind", got)
		}
		rewound.Stop(t, "immediate")
	}
}
