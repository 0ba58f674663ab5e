package basetest

import (
	"os"
	"strings"
	"testing"
)

// TestKeeping: what is kept of backups and of the WAL between them, and what a restore
// says of WAL that is not there.
func TestKeeping(t *testing.T) {
	w := newWorld(t)
	p := w.primary()
	p.SQL(t, "CREATE TABLE a (i int)")
	var between string
	for i, label := range []string{"one", "two", "three"} {
		p.SQL(t, "INSERT INTO a VALUES ("+string(rune('1'+i))+")")
		w.push(p, label)
		w.archived(p)
		between = w.archived(p)
	}
	last := w.archived(p)

	// Without a window, everything from the oldest backup on is kept.
	before := len(w.segments())
	w.run("base", "forget", "--cluster", "main", "--keep-last", "3")
	if kept := w.segments(); !strings.HasSuffix(kept[len(kept)-1], last) || len(w.list()) != 3 || len(kept) > before {
		t.Fatalf("kept: %v", kept)
	}
	// All of the WAL after the newest, and of the others what makes them consistent.
	said := w.run("base", "forget", "--cluster", "main", "--keep-last", "3", "--pitr-within", "1h", "--dry-run")
	if !strings.Contains(said, "with all WAL after it") || strings.Contains(said, "consistent only") {
		t.Errorf("all are within an hour of the newest:\n%s", said)
	}
	w.age(t, "two", "one") // by the storage's clock
	w.run("base", "forget", "--cluster", "main", "--keep-last", "3", "--pitr-within", "36h")
	rows := w.list()
	if len(rows) != 3 || rows[2].Label != "one" || !rows[2].Consistent || rows[2].Reach[0].Gap == "" {
		t.Fatalf("list: %+v", rows)
	}
	if rows[1].Reach[0].Gap != "" || rows[0].Reach[0].Until != last {
		t.Errorf("of those in the window WAL was removed: %+v", rows)
	}
	w.run("wal", "verify", "--cluster", "main")

	// The old one is restored as it was at its end.
	c := w.recovered("--backup", "one", "--no-archive")
	if got := c.SQL(t, "SELECT string_agg(i::text, ',') FROM a"); got != "1" {
		t.Errorf("base backup one has %s", got)
	}
	for _, refused := range [][]string{{"--latest"}, {"--lsn", "0/" + last[17:18] + "FFFFFF"}} {
		said := w.fails(4, append([]string{"base", "restore", "--cluster", "main", "--patience", "0s", "--backup", "one", "--target-dir", w.dir + "/none"}, refused...)...)
		if !strings.Contains(said, "WAL is missing") || !strings.Contains(said, rows[2].Reach[0].Gap) {
			t.Errorf("%v: %s", refused, said)
		}
	}
	// A hole in what is needed is named before anything is written.
	w.must(os.Remove(w.wal(between)))
	said = w.fails(4, "base", "restore", "--cluster", "main", "--patience", "0s", "--target-dir", w.dir+"/none")
	if _, err := os.Stat(w.dir + "/none"); err == nil || !strings.Contains(said, between) {
		t.Errorf("a hole: %s", said)
	}
	w.fails(4, "base", "restore", "--cluster", "main", "--patience", "0s", "--time", "2100-01-01 00:00:00Z", "--target-dir", w.dir+"/none")
	// An old server's cleanup does not take it away.
	w.run("wal", "cleanup", "--cluster", "main", last)
	w.run("base", "verify", "--cluster", "main", "--all")

	w.run("base", "delete", "--cluster", "main", "one")
	w.fails(3, "base", "restore", "--cluster", "main", "--patience", "0s", "--backup", "one", "--target-dir", w.dir+"/none")
	w.run("base", "undelete", "--cluster", "main", "one")
	w.run("base", "verify", "--cluster", "main", "one")
	w.run("base", "forget", "--cluster", "main", "--keep-last", "1")
	if rows := w.list(); len(rows) != 1 || rows[0].Label != "three" {
		t.Errorf("list: %+v", rows)
	}
	if kept := w.segments(); strings.Contains(strings.Join(kept, " "), rows[2].Backup.Start) || len(kept) >= before {
		t.Errorf("kept: %v", kept)
	}
}
