package plugin

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

func TestGuess(t *testing.T) {
	name := repo.Name{Class: repo.Backup, Namespace: "n", Group: "20260105000000", Item: "gpbackup_0_20260105000000_16384.gz"}
	complete := func(ts, db string) recentBackup { return recentBackup{ts, db, true} }
	for _, x := range []struct {
		what, database string
		backups        []recentBackup
		want           string
	}{
		{"nothing", "", nil, ""},
		{"only itself", "", []recentBackup{complete("20260105000000", "a")}, ""},
		{"newest first, at most four", "", []recentBackup{
			complete("20260104000000", "a"), complete("20260103000000", "b"), complete("20260102000000", "a"),
			complete("20260101000000", "a"), complete("20250101000000", "a"),
		}, "20260104000000 20260103000000 20260102000000 20260101000000"},
		{"the same database first, incomplete last", "b", []recentBackup{
			{Timestamp: "20260104000000"}, complete("20260103000000", "a"), complete("20260102000000", "b"), complete("20260101000000", "b"),
		}, "20260102000000 20260101000000 20260103000000 20260104000000"},
		{"older ones only", "", []recentBackup{complete("20260106000000", "a"), complete("20260104000000", "a")}, "20260104000000"},
		{"any if none is older", "", []recentBackup{complete("20260106000000", "a"), complete("20260105000000", "a")}, "20260106000000"},
	} {
		var got []string
		for _, n := range guess(name, x.database, x.backups) {
			got = append(got, n.Group)
			if n.Namespace != "n" || n.Item != "gpbackup_0_"+n.Group+"_16384.gz" {
				t.Errorf("%s: guessed %+v", x.what, n)
			}
		}
		if s := strings.Join(got, " "); s != x.want {
			t.Errorf("%s: got %s, want %s", x.what, s, x.want)
		}
	}
	name.Item = "test_data"
	if got := guess(name, "", []recentBackup{{Timestamp: "20250101000000"}}); len(got) != 1 || got[0].Item != "test_data" {
		t.Errorf("a name without timestamp: %v", got)
	}
}

// session opens the world's repository in this process.
func (w *world) session() *session {
	c, err := LoadConfig(w.config)
	w.must(err)
	w.must(c.Complete(func(string) string { return "" }))
	r, err := c.Open(context.Background(), "write", "test", nil)
	w.must(err)
	w.t.Cleanup(func() { w.must(r.Close()) })
	return &session{Repo: r, config: c, log: slog.New(slog.DiscardHandler)}
}

// TestRefreshRecent: what backups there are, and of which database, is read once.
func TestRefreshRecent(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	s := w.session()
	put := func(ts, item, text string) {
		t.Helper()
		n := repo.Name{Class: repo.Backup, Namespace: DefaultNamespace, Group: ts, Item: item}
		_, err := s.Write(ctx, n, strings.NewReader(text), repo.WriteOptions{})
		w.must(err)
	}
	config := func(ts, database, status string) {
		t.Helper()
		put(ts, "gpbackup_"+ts+"_config.yaml", "backupversion: 1.30\ndatabasename: "+database+"\nstatus: "+status+"\nrestoreplan:\n- timestamp: \"1\"\n")
	}
	check := func(want ...recentBackup) {
		t.Helper()
		w.must(s.refreshRecent(ctx))
		r, err := s.loadRecent()
		w.must(err)
		if !slices.Equal(r.Backups, want) {
			t.Errorf("got %+v, want %+v", r.Backups, want)
		}
	}
	check()
	put("20260101000000", "gpbackup_0_20260101000000_1", "rows")
	config("20260102000000", "sales", "Success")
	config("20260103000000", "sales", "Failure")
	put("20260104000000", "gpbackup_20260104000000_config.yaml", "\x00: [")
	config("20260105000000", "hr", "Success")
	w.must(s.Delete(ctx, repo.Name{Class: repo.Backup, Namespace: DefaultNamespace, Group: "20260105000000"}))
	known := []recentBackup{
		{"20260104000000", "", false}, {"20260103000000", "sales", false}, {"20260102000000", "sales", true}, {"20260101000000", "", false},
	}
	check(known...)
	// A backup may complete later.
	config("20260101000000", "hr", "Success")
	known[3] = recentBackup{"20260101000000", "hr", true}
	check(known...)
	// What is in the cache is not trusted further than it has to be.
	w.must(os.WriteFile(s.recentPath(), []byte(`{"backups":[{"timestamp":"../../x"}`), 0o600))
	check(known...)
	w.must(os.WriteFile(s.recentPath(), []byte(`{"backups":[{"timestamp":"../../x","complete":true}]}`), 0o600))
	check(known...)
	if temps, _ := filepath.Glob(filepath.Dir(s.recentPath()) + "/tmp-recent*"); len(temps) != 0 {
		t.Errorf("left %v", temps)
	}
}

// TestPreviousBackupIsFound: a host without any cache stores nothing of what
// yesterday's backup of the same table has.
func TestPreviousBackupIsFound(t *testing.T) {
	for _, cached := range []bool{false, true} {
		w := newWorld(t)
		if !cached {
			w.configure() // and without a home directory there is no default
		}
		data := rows(9, 2<<20) // one small pack, which is in no index
		days := []string{"20260101000000", "20260102000000"}
		for _, day := range days {
			w.good(nil, "setup_plugin_for_backup", w.config, w.backupDir(day), "master", `"-1"`)
			w.good(data, "backup_data", w.config, w.backupDir(day)+"/gpbackup_0_"+day+"_16384")
		}
		m, err := w.open().Stream(context.Background(), repo.Name{
			Class: repo.Backup, Namespace: DefaultNamespace, Group: days[1], Item: "gpbackup_0_" + days[1] + "_16384",
		})
		w.must(err)
		if m.Stats.NewChunks != 0 || m.Stats.Chunks < 10 {
			t.Errorf("cache %v: stored %+v", cached, m.Stats)
		}
	}
}
