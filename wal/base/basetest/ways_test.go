package basetest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTablespaces: they come along, go where they are told to, and a tar archive of the
// backup is whole. The WAL comes with the backup: there is no archive.
func TestTablespaces(t *testing.T) {
	w := newWorld(t)
	p := w.primary("wal_level = replica")
	space := host.Mkdir(t)
	p.SQL(t, "CREATE TABLESPACE fast LOCATION '"+space+"'")
	p.SQL(t, "CREATE TABLE a TABLESPACE fast AS SELECT i, md5(i::text) AS v FROM generate_series(1, 5000) i")
	p.SQL(t, "CREATE TABLE b AS SELECT 1 AS x")
	w.push(p, "spaces", "--include-wal")
	p.Stop(t, "fast")
	w.must(os.RemoveAll(filepath.Join(w.repository(), "wal")))

	said := w.fails(2, "base", "restore", "--cluster", "main", "--target-dir", w.dir+"/none")
	if !strings.Contains(said, space+" is not empty") || !strings.Contains(said, "--tablespace-mapping") {
		t.Errorf("the tablespace is there already: %s", said)
	}
	if _, err := os.Stat(w.dir + "/none"); err == nil {
		t.Error("a refused restore made the data directory")
	}
	moved := filepath.Join(host.Mkdir(t), "moved")
	c := w.restore("--tablespace-mapping", space+"="+moved)
	c.Start(t)
	if got := c.SQL(t, "SELECT count(*) FROM a, b"); got != "5000" {
		t.Errorf("%s rows", got)
	}
	if got := c.SQL(t, "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'"); got != moved {
		t.Errorf("the tablespace is at %s", got)
	}
	c.Stop(t, "fast")

	tarred := host.Adopt(t)
	w.run("base", "restore", "--cluster", "main", "--tar", w.dir+"/base.tar")
	for _, args := range [][]string{{"mkdir", "-m", "700", tarred.Data}, {"tar", "-C", tarred.Data, "-xf", w.dir + "/base.tar"}} {
		if out, err := host.Run(args[0], args[1:]...); err != nil {
			t.Fatal(err, out)
		}
	}
	if out, err := host.Run(host.Program("pg_verifybackup"), "-n", "-i", ".gpdedup", tarred.Data); err != nil {
		t.Errorf("pg_verifybackup: %v\n%s", err, out)
	}
	tarred.Configure(t, "unix_socket_directories = '"+tarred.Socket()+"'", "archive_mode = off", "allow_in_place_tablespaces = on")
	tarred.Start(t)
	if got := tarred.SQL(t, "SELECT count(*) FROM a, b"); got != "5000" {
		t.Errorf("%s rows out of the tar archive", got)
	}
}

// TestStandbyAndTimelines: a standby follows the archive, and is promoted twice over;
// each backup is recovered along the timelines that lead on from it.
func TestStandbyAndTimelines(t *testing.T) {
	w := newWorld(t)
	p := w.primary()
	p.SQL(t, "CREATE TABLE a AS SELECT 1 AS i")
	w.push(p, "one")
	lead := p
	for i, want := range []string{"2", "3"} {
		s := w.restore("--standby", "--backup", "one")
		w.must(s.Launch())
		lead.SQL(t, "INSERT INTO a VALUES ("+want+")")
		w.archived(lead)
		s.AwaitSQL(t, "SELECT max(i) FROM a", want)
		// Else the old one would archive what it writes behind the fork.
		lead.Stop(t, "immediate")
		s.Promote(t)
		s.SQL(t, "CHECKPOINT")
		if got := s.Timeline(t); got != string(rune('2'+i)) {
			t.Fatalf("timeline %s after promotion %d", got, i+1)
		}
		lead = s
	}
	lead.SQL(t, "INSERT INTO a VALUES (4)")
	w.push(lead, "three")
	lead.SQL(t, "INSERT INTO a VALUES (5)")
	w.archived(lead)
	rows := w.list()
	if len(rows) != 2 || len(rows[1].Reach) != 3 || len(rows[0].Reach) != 1 || rows[0].Backup.Timeline != 3 {
		t.Fatalf("list: %+v", rows)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--backup", "one", "--no-archive"}, "1,2,3,4,5"},
		{[]string{"--backup", "one", "--timeline", "1", "--no-archive"}, "1,2"},
		{[]string{"--timeline", "2", "--no-archive"}, "1,2,3"},
	} {
		s := w.recovered(c.args...)
		if got := s.SQL(t, "SELECT string_agg(i::text, ',' ORDER BY i) FROM a"); got != c.want {
			t.Errorf("%v: %s, want %s", c.args, got, c.want)
		}
		s.Stop(t, "immediate")
	}
	w.fails(2, "base", "restore", "--cluster", "main", "--backup", "three", "--timeline", "2", "--target-dir", w.dir+"/none")
}

// TestBrokenOff: what is killed leaves no backup, and no data directory that a server
// starts from; the next try is a success.
func TestBrokenOff(t *testing.T) {
	w := newWorld(t)
	p := w.primary("archive_timeout = 0")
	p.SQL(t, "CREATE TABLE a AS SELECT i, md5(i::text) AS v FROM generate_series(1, 100000) i")
	// While the archive is away, the push has stored all and waits.
	w.must(os.Chmod(filepath.Join(w.repository()), 0o755))
	p.SQL(t, "ALTER SYSTEM SET archive_command = 'false'")
	p.SQL(t, "SELECT pg_reload_conf()")
	push := w.command("base", "push", "--cluster", "main", "--dsn", dsn(p), "--label", "killed")
	stderr, err := push.StderrPipe()
	w.must(err)
	w.must(push.Start())
	line := make([]byte, 64)
	if n, err := stderr.Read(line); err != nil || !strings.Contains(string(line[:n]), "waiting") && !strings.Contains(string(line[:n]), "all data is stored") {
		t.Fatalf("%q, %v", line[:n], err)
	}
	w.must(push.Process.Kill())
	_ = push.Wait()
	rows := w.list()
	if len(rows) != 1 || rows[0].Label != "killed" || rows[0].Unfinished == nil || rows[0].Unfinished.From == "" || rows[0].Backup != nil {
		t.Fatalf("a killed push left %+v", rows)
	}
	w.run("base", "delete", "--cluster", "main", "killed")
	if rows := w.list(); len(rows) != 0 {
		t.Fatalf("a push that was given up is still there: %+v", rows)
	}
	w.fails(1, "base", "delete", "--cluster", "main", "killed")
	said := w.fails(1, "base", "push", "--cluster", "main", "--dsn", dsn(p), "--label", "late", "--wal-timeout", "1ms")
	if !strings.Contains(said, "not in the archive") || len(w.list()) != 0 {
		t.Errorf("WAL that does not come: %s", said)
	}
	p.SQL(t, "ALTER SYSTEM RESET archive_command")
	p.SQL(t, "SELECT pg_reload_conf()")
	w.push(p, "whole")
	w.fails(3, "base", "push", "--cluster", "main", "--dsn", dsn(p), "--label", "whole")

	// A restore, killed when some of it is there.
	c := host.Adopt(t)
	restore := w.command("base", "restore", "--cluster", "main", "--target-dir", c.Data)
	w.must(restore.Start())
	c.Await(t, "something is restored", func() bool { return c.Has("PG_VERSION") || c.Has("base") })
	_ = restore.Process.Kill()
	err = restore.Wait()
	if err != nil && c.Has("global/pg_control") {
		t.Error("a killed restore left a control file")
	}
	if err != nil && c.TryStart() == nil {
		t.Error("a server starts from what a killed restore left")
	}
	said = w.fails(2, "base", "restore", "--cluster", "main", "--target-dir", c.Data)
	if !strings.Contains(said, "is not empty") {
		t.Error(said)
	}
	w.must(os.RemoveAll(c.Data))
	r := w.recovered("--no-archive")
	if got := r.SQL(t, "SELECT count(*) FROM a"); got != "100000" {
		t.Errorf("%s rows", got)
	}
}

// TestArchiveOnStdin: what pg_basebackup writes is stored, if it is whole.
func TestArchiveOnStdin(t *testing.T) {
	w := newWorld(t)
	p := w.primary()
	p.SQL(t, "CREATE TABLE a AS SELECT 1 AS i")
	cmd := host.Command(host.Program("pg_basebackup"), "-h", p.Socket(), "-U", "postgres", "-D", "-", "-Ft", "-X", "none", "-c", "fast", "--manifest-checksums", "SHA256")
	tar, err := cmd.Output()
	w.must(err)
	push := func(in []byte, label string) (int, string) {
		cmd := w.command("base", "push", "--cluster", "main", "--label", label, "-")
		cmd.Stdin = bytes.NewReader(in)
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	damaged := bytes.Clone(tar)
	damaged[len(damaged)/2] ^= 1
	for what, in := range map[string][]byte{"cut": tar[:len(tar)/2/512*512], "empty": nil, "text": []byte(strings.Repeat("x", 4096))} {
		if code, said := push(in, what); code == 0 || len(w.list()) != 0 {
			t.Errorf("%s: %s", what, said)
		}
	}
	if code, said := push(tar, "whole"); code != 0 {
		t.Fatal(said)
	}
	w.run("base", "verify", "--cluster", "main")
	if code, said := push(damaged, "damaged"); code == 0 {
		w.fails(4, "base", "verify", "--cluster", "main", "damaged") // its checksums are SHA-256
	} else {
		t.Log(said)
	}
	c := w.recovered("--backup", "whole", "--no-archive")
	if got := c.SQL(t, "SELECT i FROM a"); got != "1" {
		t.Error(got)
	}
	var open []string
	w.must(filepath.WalkDir(c.Data, func(path string, d fs.DirEntry, err error) error {
		if info, ierr := d.Info(); ierr == nil && info.Mode().Perm()&0o077 != 0 && info.Mode().Type() != fs.ModeSocket {
			open = append(open, path)
		}
		return err
	}))
	if len(open) > 0 && strings.HasSuffix(open[0], "PG_VERSION") {
		t.Errorf("others may read %v", open)
	}
}

// TestFromStandby: a base backup that a standby gives, of which the primary archives the
// WAL; and with one whose WAL is included, another backup's archive.
func TestFromStandby(t *testing.T) {
	w := newWorld(t)
	p := w.primary()
	p.SQL(t, "CREATE TABLE a AS SELECT 1 AS i")
	w.push(p, "primary", "--include-wal")
	s := w.restore("--standby")
	s.Configure(t, "primary_conninfo = '"+dsn(p)+"'")
	s.Start(t)
	p.SQL(t, "INSERT INTO a VALUES (2)")
	s.AwaitSQL(t, "SELECT max(i) FROM a", "2") // streamed: the archive does not have it yet
	p.SQL(t, "CHECKPOINT")
	p.SQL(t, "SELECT pg_switch_wal()")
	push := w.command("base", "push", "--cluster", "main", "--dsn", dsn(s), "--label", "standby")
	var said bytes.Buffer
	push.Stdout, push.Stderr = &said, &said
	w.must(push.Start())
	done := make(chan error, 1)
	go func() { done <- push.Wait() }()
	p.Await(t, "the backup is stored", func() bool {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err, said.String())
			}
			return true
		default:
			p.SwitchWAL(t) // as the hint says
			return false
		}
	})
	rows := w.list()
	if len(rows) != 2 || rows[0].Label != "standby" || !rows[0].Backup.FromStandby || !rows[0].Consistent {
		t.Fatalf("list: %+v", rows)
	}
	w.archived(p)
	c := w.recovered("--backup", "standby", "--no-archive")
	if got := c.SQL(t, "SELECT max(i) FROM a"); got != "2" {
		t.Error(got)
	}
}
