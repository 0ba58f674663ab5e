package fetchtest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// TestFollow: a standby that has nothing but the archive follows its primary for many
// segments.
func TestFollow(t *testing.T) {
	t.Parallel()
	follow(t, followSegments)
}

func follow(t *testing.T, segments int) {
	t.Helper()
	w := newWorld(t)
	primary := host.NewCluster(t, pgtest.Options{Settings: w.archiving()})
	primary.Start(t)
	primary.SQL(t, "CREATE TABLE t (a int, b text)")
	standby := primary.BaseBackup(t)
	standby.Configure(t, append(w.restoring(), "archive_mode = off")...)
	standby.Touch(t, "standby.signal")
	// In a few steps, so that it catches up, waits, and catches up again.
	const steps = 4
	want := 0
	for step := range steps {
		last := ""
		for range segments / steps {
			// Most segments are full, as real ones are.
			primary.SQL(t, fmt.Sprintf("INSERT INTO t SELECT %d, md5(random()::text) FROM generate_series(1, 3000)", step))
			want += 3000
			last = primary.SwitchWAL(t)
		}
		primary.Archived(t, last)
		if step == 0 {
			standby.Start(t)
		}
		standby.AwaitSQL(t, "SELECT count(*) FROM t", strconv.Itoa(want))
	}
	sum := "SELECT md5(string_agg(a || b, ' ' ORDER BY a, b)) FROM t"
	if a, b := primary.SQL(t, sum), standby.SQL(t, sum); a != b {
		t.Errorf("the standby has other rows than its primary")
	}
}
