package plugin

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
	"github.com/gpdedup/gpdedup/storage/target"
)

// onBucket moves the world's repository to a bucket of a fake server.
func (w *world) onBucket(fake *s3test.Fake) {
	w.t.Helper()
	w.repository = fake.Location("p")
	st, err := target.OpenWith(w.repository, target.Options{Endpoint: fake.Endpoint, AccessKey: fake.AccessKey, SecretKey: fake.SecretKey})
	w.must(err)
	_, err = repo.Init(w.t.Context(), st, repo.InitOptions{
		Secret: repo.Secret{KeyFile: w.key}, Now: time.Unix(1700000000, 0), Target: &repo.Target{ConditionalPut: true, CRC32C: true},
	})
	w.must(err)
	w.configure("cache_dir: "+w.cache, "endpoint: "+fake.Endpoint, "access_key_id: "+fake.AccessKey, "secret_access_key: env:S3_SECRET")
	w.env = append(w.env, "S3_SECRET="+fake.SecretKey)
	fake.Counts()
}

// TestRequestsOfCommands counts the requests of whole commands, and compares them
// with the table in docs/s3.md.
func TestRequestsOfCommands(t *testing.T) {
	w := newWorld(t)
	fake := s3test.StartFake(t)
	w.onBucket(fake)
	documented := requestTable(t)
	count := func(row string, in []byte, args ...string) {
		t.Helper()
		fake.Counts()
		w.good(in, args...)
		w.awaitChildren()
		log := fake.Log()
		c := fake.Counts()
		got := fmt.Sprintf("%d | %d | %d | %d", c["PUT"], c["GET"]+c["HEAD"], c["LIST"], c["DELETE"])
		if got != documented[row] {
			t.Errorf("%s: PUT | GET | LIST | DELETE: %s; docs/s3.md has %q\n%s", row, got, documented[row], strings.Join(log, "\n"))
		}
		delete(documented, row)
	}
	small, large := rows(1, 1000), make([]byte, 10_000_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(large) // never fails
	count("`backup_data` of 1 KB, first process of a host", small, "backup_data", w.config, w.path("1"))
	count("`setup_plugin_for_backup` of a segment", nil, "setup_plugin_for_backup", w.config, w.backupDir(ts), "segment", "0")
	count("`setup_plugin_for_backup` of a host, with what it starts", nil, "setup_plugin_for_backup", w.config, w.backupDir(ts), "segment_host", "0")
	count("`backup_data` of 1 KB", small, "backup_data", w.config, w.path("2"))
	count("`restore_data` of 1 KB", nil, "restore_data", w.config, w.path("2"))
	count("`backup_data` of 10 MB that does not compress", large, "backup_data", w.config, w.path("3"))
	count("the same content under another name", large, "backup_data", w.config, w.path("4"))
	count("`delete_backup`", nil, "delete_backup", w.config, ts)
	for row := range documented {
		t.Errorf("docs/s3.md has a row that is not counted: %s", row)
	}
}

// requestTable reads the table: what is in the first column, and the numbers.
func requestTable(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/s3.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- requests:begin -->")
	table, _, _ = strings.Cut(table, "<!-- requests:end -->")
	rows := make(map[string]string)
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 5 || strings.Contains(line, "---") || strings.Contains(line, "PUT") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[cells[0]] = strings.Join(cells[1:5], " | ")
	}
	return rows
}
