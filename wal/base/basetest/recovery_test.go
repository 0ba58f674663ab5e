package basetest

import (
	"strings"
	"testing"
)

// TestPointInTime: a base backup, traffic, a table that is dropped; and the database as
// it was just before, by time, by address, by name and by transaction.
func TestPointInTime(t *testing.T) {
	w := newWorld(t)
	p := w.primary()
	p.SQL(t, "CREATE TABLE a AS SELECT i, md5(i::text) AS v FROM generate_series(1, 20000) i")
	w.push(p, "one")
	p.SQL(t, "INSERT INTO a SELECT i, md5(i::text) FROM generate_series(20001, 21000) i")
	p.SQL(t, "CREATE TABLE b AS SELECT 1 AS x; UPDATE a SET v = v || 'x' WHERE i % 100 = 0")
	want := p.SQL(t, "SELECT md5(string_agg(a::text, ',' ORDER BY i)) FROM a")
	p.SQL(t, "SELECT pg_create_restore_point('before')")
	at := p.SQL(t, "SELECT clock_timestamp(); SELECT pg_current_wal_insert_lsn()")
	when, lsn, _ := strings.Cut(at, "\n")
	xid := p.SQL(t, "BEGIN; SELECT pg_current_xact_id(); DROP TABLE a; COMMIT")
	p.SQL(t, "INSERT INTO b VALUES (2)")
	w.archived(p)
	for _, target := range [][]string{
		{"--time", when}, {"--lsn", lsn}, {"--name", "before"}, {"--xid", xid, "--exclusive"},
	} {
		c := w.recovered(append(target, "--no-archive")...)
		if got := c.SQL(t, "SELECT md5(string_agg(a::text, ',' ORDER BY i)) FROM a"); got != want {
			t.Errorf("%v: the table is another one", target)
		}
		c.Stop(t, "immediate")
	}
	c := w.recovered("--no-archive")
	if got := c.SQL(t, "SELECT count(*), to_regclass('a') IS NULL FROM b"); got != "2|t" {
		t.Errorf("at the end of the WAL: %s", got)
	}
	rows := w.list()
	if len(rows) != 1 || !rows[0].Consistent || len(rows[0].Reach) != 1 || rows[0].Reach[0].Time == nil {
		t.Errorf("list: %+v", rows)
	}
}

// TestBucket: the same out of a bucket, just before a table is dropped.
func TestBucket(t *testing.T) {
	w := newBucket(t)
	p := w.primary()
	p.SQL(t, "CREATE TABLE a AS SELECT i FROM generate_series(1, 1000) i")
	w.push(p, "one")
	p.SQL(t, "INSERT INTO a VALUES (1001)")
	when := p.SQL(t, "SELECT clock_timestamp()")
	p.SQL(t, "DROP TABLE a")
	w.archived(p)
	c := w.recovered("--time", when, "--no-archive")
	if got := c.SQL(t, "SELECT count(*) FROM a"); got != "1001" {
		t.Errorf("%s rows", got)
	}
	w.run("base", "verify", "--cluster", "main")
	w.run("base", "forget", "--cluster", "main", "--keep-last", "1")
}
