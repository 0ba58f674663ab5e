package pgtest

import (
	"strings"
	"testing"
)

// TestServers: what the tests of the archive build on does what it says, with cp in
// the place of our commands.
func TestServers(t *testing.T) {
	h, err := NewHost()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	archive := h.Mkdir(t)
	primary := h.NewCluster(t, Options{Settings: []string{
		"archive_mode = on", "archive_command = 'cp %p " + archive + "/%f'", "restore_command = 'cp " + archive + "/%f %p'",
	}})
	primary.Start(t)
	other := h.NewCluster(t, Options{})
	if a, b := primary.SystemID(t), other.SystemID(t); a == b {
		t.Errorf("two clusters have the system identifier %s", a)
	}
	primary.SQL(t, "CREATE TABLE t AS SELECT 1 AS a")
	standby := primary.BaseBackup(t)
	primary.Archived(t, primary.Fill(t, 3))
	standby.Touch(t, "standby.signal")
	standby.Start(t)
	primary.SQL(t, "INSERT INTO t VALUES (2)")
	primary.Archived(t, primary.SwitchWAL(t))
	standby.AwaitSQL(t, "SELECT count(*) FROM t", "2")
	standby.Promote(t)
	primary.Stop(t, "fast")
	standby.SQL(t, "CHECKPOINT")
	if got := standby.Timeline(t); got != "2" {
		t.Errorf("timeline %s after the promotion", got)
	}
	standby.Stop(t, "immediate")
	copied := standby.Copy(t)
	copied.Configure(t, "archive_mode = off")
	copied.Start(t)
	if !strings.Contains(copied.Log(), "database system was not properly shut down") {
		t.Error("no crash recovery after an immediate stop")
	}
}
