//go:build soak

package basetest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// TestKilledAnywhere: pushes and restores that are killed after some time, over and over,
// while the database changes. Whatever is listed can be verified and restored.
func TestKilledAnywhere(t *testing.T) {
	w := newWorld(t)
	p := w.primary()
	p.SQL(t, "CREATE TABLE a AS SELECT i, md5(i::text) AS v FROM generate_series(1, 200000) i")
	w.push(p, "first")
	for i := range 20 {
		p.SQL(t, "UPDATE a SET v = md5(v) WHERE i % 50 = "+strconv.Itoa(i))
		push := w.command("base", "push", "--cluster", "main", "--dsn", dsn(p), "--label", "try-"+strconv.Itoa(i))
		w.must(push.Start())
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
		_ = push.Process.Kill()
		_ = push.Wait()

		c := host.Adopt(t)
		restore := w.command("base", "restore", "--cluster", "main", "--target-dir", c.Data)
		w.must(restore.Start())
		time.Sleep(time.Duration(rand.IntN(800)) * time.Millisecond)
		_ = restore.Process.Kill()
		if err := restore.Wait(); err != nil && c.Has("global/pg_control") {
			started(t, c) // it was killed when all was done
		}
		w.must(os.RemoveAll(c.Data))
	}
	w.run("base", "verify", "--cluster", "main", "--all")
	w.run("repo", "check", "--read-data")
	w.archived(p)
	want := p.SQL(t, "SELECT md5(string_agg(a::text, ',' ORDER BY i)) FROM a")
	for _, row := range w.list() {
		c := w.recovered("--backup", row.Label, "--no-archive")
		if got := c.SQL(t, "SELECT md5(string_agg(a::text, ',' ORDER BY i)) FROM a"); got != want {
			t.Errorf("base backup %s recovers to something else", row.Label)
		}
		c.Stop(t, "immediate")
	}
}

// started starts a server in a directory whose restore was killed at its very end.
func started(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	c.Configure(t, "unix_socket_directories = '"+c.Socket()+"'", "archive_mode = off")
	c.Start(t)
	c.AwaitPromoted(t)
	c.Stop(t, "immediate")
}
