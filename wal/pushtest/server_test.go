package pushtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// TestSegmentSizes: a server archives segments of any size.
func TestSegmentSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{16, 64} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := host.NewCluster(t, pgtest.Options{SegmentSize: size, Settings: w.archiving()})
			c.Start(t)
			c.SQL(t, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i")
			c.Archived(t, c.Fill(t, 3))
			w.whole()
			if got := w.list().Archives[0].Epochs[0]; got.SegmentSize != size<<20 || got.Segments != 3 || got.System != c.SystemID(t) {
				t.Errorf("%+v", got)
			}
			if log := c.Log(); strings.Contains(log, "gpdedup") {
				t.Errorf("something was said in the server's log: %s", log)
			}
		})
	}
}

// TestEveryKindOfFile: base backup, standby, promotion: labels, histories and partial
// segments are archived, and the archive knows what they mean.
func TestEveryKindOfFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.pushed(2)
	standby := c.BaseBackup(t, "-X", "stream", "-R")
	c.Archived(t, c.SwitchWAL(t))
	standby.Start(t)
	c.SQL(t, "CREATE TABLE t (i int)")
	lsn := c.SQL(t, "SELECT pg_current_wal_lsn()")
	standby.AwaitSQL(t, "SELECT pg_last_wal_replay_lsn() >= '"+lsn+"'", "t")
	c.Stop(t, "fast")
	standby.Promote(t)
	standby.SQL(t, "INSERT INTO t VALUES (1)")
	standby.Archived(t, standby.SwitchWAL(t))

	w.whole()
	e := w.list().Archives[0].Epochs[0]
	if len(e.Timelines) != 2 || e.Timelines[1].Parent != 1 || !e.Timelines[1].History || len(e.Timelines[0].Partials)+len(e.Timelines[1].Ranges) == 0 {
		t.Errorf("timelines: %+v", e.Timelines)
	}
	if len(e.Backups) != 1 || !e.Backups[0].Consistent || e.Backups[0].Until[:8] != "00000002" {
		t.Errorf("backups: %+v", e.Backups)
	}
}

// TestBacklog: what gathered while nothing could be archived is archived when it can
// be, without a gap.
func TestBacklog(t *testing.T) {
	t.Parallel()
	const segments = 200
	w := newWorld(t)
	c := host.NewCluster(t, pgtest.Options{Settings: []string{"archive_mode = on", "archive_command = ''"}})
	c.Start(t)
	c.SQL(t, fmt.Sprintf("DO $$ BEGIN FOR i IN 1..%d LOOP PERFORM pg_logical_emit_message(false, 'x', 'x'); PERFORM pg_switch_wal(); END LOOP; END $$", segments-1))
	last := c.SwitchWAL(t)
	c.Configure(t, w.archiving()[1])
	c.SQL(t, "SELECT pg_reload_conf()")
	c.Archived(t, last)
	w.whole()
	if got := w.list().Archives[0].Epochs[0]; got.Segments != segments || len(got.Timelines[0].Ranges) != 1 {
		t.Errorf("%+v", got)
	}
	if failed := c.SQL(t, "SELECT failed_count FROM pg_stat_archiver"); failed != "0" {
		t.Errorf("%s failures: %s", failed, c.Log())
	}
	left, err := filepath.Glob(filepath.Join(w.cache, "wal", "pushed", "*", "*"))
	w.must(err)
	if len(left) > 0 {
		t.Errorf("records that were not used: %v", left)
	}
}

// TestRepositoryAway: while there is no repository nothing is taken for archived, and
// when it is back all is.
func TestRepositoryAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.pushed(1)
	w.must(os.Rename(w.repository, w.repository+".away"))
	file := c.SwitchWAL(t)
	c.AwaitLog(t, "archive command failed with exit code 5")
	c.AwaitLog(t, `gpdedup: wal push: open repository: .*no such directory`)
	if c.SQL(t, "SELECT last_archived_wal >= '"+file+"' FROM pg_stat_archiver") != "f" {
		t.Error("a file was taken for archived")
	}
	w.must(os.Rename(w.repository+".away", w.repository))
	c.Archived(t, c.SwitchWAL(t))
	w.whole()
}

// TestImmediateShutdown: a server that is stopped in the middle of a push leaves no
// trace of it in its log, and archives the file when it is back.
func TestImmediateShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hanging := w.hang()
	c := host.NewCluster(t, pgtest.Options{Settings: w.archiving("--key-file", hanging)})
	c.Start(t)
	file := c.SwitchWAL(t)
	pid := w.pushing(c, file)
	defer w.opens(hanging)() // it is at work, and has seen to signals
	c.Stop(t, "immediate")
	w.gone(pid)
	for _, trace := range []string{"goroutine", "SIGQUIT", "gpdedup:"} {
		if strings.Contains(c.Log(), trace) {
			t.Errorf("%s in the server's log: %s", trace, c.Log())
		}
	}
	c.Configure(t, w.archiving()...)
	c.Start(t)
	c.Archived(t, file)
	w.whole()
}

// TestCheck: the server is made to archive a segment, which is read back.
func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.pushed(0)
	psql := host.Program("psql") + " -U postgres -d postgres -h " + c.Socket()
	out := w.succeeds("wal", "check", "--cluster", "main", "--psql", psql)
	if !strings.Contains(out, "what was stored is what the server has") {
		t.Error(out)
	}
	w.must(os.Rename(w.repository+"/config", w.repository+"/config.away"))
	c.Configure(t, "archive_command = 'false'")
	c.SQL(t, "SELECT pg_reload_conf()")
	w.must(os.Rename(w.repository+"/config.away", w.repository+"/config"))
	w.fails("1", []string{"the server did not archive 0000", "archive_command is: false"},
		"wal", "check", "--cluster", "main", "--timeout", "2s", "--psql", psql)
	w.fails("1", []string{"ask the server", "--psql"}, "wal", "check", "--psql", "psql -h /nonexistent")
}

// TestStandbyCleanup: a standby's mark moves with its restart points, and only what is
// before all marks and base backups goes.
func TestStandbyCleanup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.pushed(6)
	standby := c.BaseBackup(t, "-X", "stream", "-R")
	cleanup := executable + " wal cleanup --cluster main --standby s1 " + strings.Join(w.flags(), " ")
	standby.Configure(t, "archive_cleanup_command = '"+cleanup+" %r'", "recovery_end_command = '"+cleanup+" --forget'")
	standby.Start(t)
	c.Archived(t, c.Fill(t, 4))
	c.SQL(t, "CHECKPOINT")
	lsn := c.SQL(t, "SELECT pg_current_wal_lsn()")
	standby.AwaitSQL(t, "SELECT pg_last_wal_replay_lsn() >= '"+lsn+"'", "t")
	standby.SQL(t, "CHECKPOINT")
	mark := standby.SQL(t, "SELECT redo_wal_file FROM pg_control_checkpoint()")
	e := w.list().Archives[0].Epochs[0]
	if len(e.Standbys) != 1 || e.Standbys[0].Standby != "s1" || e.Standbys[0].From != mark {
		t.Fatalf("standbys: %+v, want the mark %s\n%s", e.Standbys, mark, standby.Log())
	}
	// What it removed is what no base backup needs: it has one, its own.
	if first := e.Timelines[0].Ranges[0].First; first != e.Backups[0].File[:24] || len(e.Timelines[0].Gaps) > 0 {
		t.Errorf("the archive begins with %s, the base backup is %+v", first, e.Backups[0])
	}
	standby.Promote(t)
	if e := w.list().Archives[0].Epochs[0]; len(e.Standbys) > 0 {
		t.Errorf("after the promotion: %+v", e.Standbys)
	}
	w.whole()
}

// TestRestorePoint: a restore point is recorded when the WAL that it needs is there.
func TestRestorePoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.pushed(1)
	lsn := c.SQL(t, "SELECT pg_create_restore_point('monday')")
	record := func() (string, string, string) {
		cmd := w.command("wal", "restore-point", "--cluster", "main", "monday", "--wait", "100ms")
		cmd.Stdin = strings.NewReader("0|" + lsn + "\n")
		return ends(cmd)
	}
	if code, _, said := record(); code != "1" || !strings.Contains(said, "not in the archive") {
		t.Errorf("before it is archived: %s: %s", code, said)
	}
	c.Archived(t, c.SwitchWAL(t))
	if code, _, said := record(); code != "0" {
		t.Errorf("%s: %s", code, said)
	}
	if code, _, said := record(); code != "3" || !strings.Contains(said, "the name is taken") {
		t.Errorf("twice: %s: %s", code, said)
	}
	if out := w.succeeds("wal", "list", "--cluster", "main"); !strings.Contains(out, "restore point monday") {
		t.Error(out)
	}
}
