package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/target"
)

// withReplica gives the world a replica, and returns the configuration that restores
// from it. Its chunk names are shared or not.
func (w *world) withReplica(shared bool) (config string) {
	w.t.Helper()
	key, dir := w.dir+"/replica.key", w.dir+"/replica"
	w.must(repo.CreateKeyFile(key))
	st, err := target.Create(dir)
	w.must(err)
	o := repo.InitOptions{Secret: repo.Secret{KeyFile: key}, Now: time.Unix(1700000000, 0), ChunkSize: repo.MinChunkSize}
	if shared {
		o.ChunkSize, o.ChunkerFrom = 0, w.open()
	}
	_, err = repo.Init(context.Background(), st, o)
	w.must(err)
	w.must(st.Close())
	config = w.dir + "/replica.yaml"
	w.must(os.WriteFile(config, []byte("executablepath: "+executable+"\noptions:\n  repository: "+dir+"\n  key_file: "+key+"\n"), 0o644))
	w.configure("cache_dir: "+w.cache, "replica: "+config)
	return config
}

// TestReplicaContract runs the checks of plugin_test.sh that are about replicas.
func TestReplicaContract(t *testing.T) {
	script, err := filepath.Abs("../plugin_test.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, shared := range []bool{true, false} {
		w := newWorld(t)
		secondary := w.withReplica(shared)
		cmd := exec.Command("bash", script, executable, w.config, secondary)
		cmd.Env = append(os.Environ(), "PLUGIN_TEST_SECTIONS=replicate", "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("skip")) || !bytes.Contains(out, []byte(" passed, 0 failed")) {
			t.Errorf("shared %v: %v\n%s", shared, err, out)
		}
	}
}

// TestReplica: a whole backup, compressed streams included, comes back from the replica;
// what is there is not copied again, what came later is.
func TestReplica(t *testing.T) {
	w := newWorld(t)
	secondary := w.withReplica(true)
	data := rows(1, 2<<20)
	w.good(data, "backup_data", w.config, w.path("1"))
	w.good(packed(t, data, "gzip", "-c"), "backup_data", w.config, w.path("2.gz"))
	if out := w.good(nil, "replicate_backup", w.config, ts); out != "" {
		t.Errorf("replicate_backup printed %q", out)
	}
	w.good([]byte("late"), "backup_data", w.config, w.path("3"))
	w.good(nil, "replicate_backup", w.config, ts)
	if got := w.good(nil, "restore_data", secondary, w.path("1")); got != string(data) {
		t.Errorf("%d bytes of %d", len(got), len(data))
	}
	if got := w.good(nil, "restore_data", secondary, w.path("2.gz")); !bytes.Equal(packed(t, []byte(got), "gzip", "-dc"), data) {
		t.Error("the compressed stream differs")
	}
	if got := w.good(nil, "restore_data", secondary, w.path("3")); got != "late" {
		t.Errorf("what came later: %q", got)
	}
	if log, err := os.ReadFile(w.log); err != nil || !strings.Contains(string(log), "msg=replicated") || !strings.Contains(string(log), "streams=1 there=2") {
		t.Errorf("log: %v\n%s", err, log)
	}
	// A timestamp that the replica never had leaves no tombstone there.
	const other = "20261122220000"
	if out := w.good(nil, "delete_replica", w.config, other); out != "already deleted\n" {
		t.Errorf("delete_replica of an unknown timestamp printed %q", out)
	}
	w.good([]byte("x"), "backup_data", w.config, w.backupDir(other)+"/gpbackup_0_"+other+"_1")
	w.good(nil, "replicate_backup", w.config, other)
	if out := w.good(nil, "delete_replica", w.config, ts); out != "" {
		t.Errorf("delete_replica printed %q", out)
	}
	if out := w.good(nil, "delete_replica", w.config, ts); out != "already deleted\n" {
		t.Errorf("delete_replica a second time printed %q", out)
	}
	if said := w.bad(ExitConflict, nil, "replicate_backup", w.config, ts); !strings.Contains(said, "the backup is deleted in "+w.dir+"/replica") {
		t.Errorf("replicate_backup of what was deleted there: %q", said)
	}
	w.good(nil, "restore_data", w.config, w.path("1"))
}

// TestReplicaConfig: the replica may be said in place, and what is wrong with it is said.
func TestReplicaConfig(t *testing.T) {
	w := newWorld(t)
	secondary := w.withReplica(true)
	w.good([]byte("x"), "backup_data", w.config, w.path("1"))
	nested := "replica:\n    repository: " + w.dir + "/replica\n    key_file: " + w.dir + "/replica.key"
	w.configure(nested)
	w.good(nil, "replicate_backup", w.config, ts)
	if got := w.good(nil, "restore_data", secondary, w.path("1")); got != "x" {
		t.Errorf("from the replica: %q", got)
	}
	for _, x := range []struct {
		code    int
		options []string
		says    string
	}{
		{ExitUsage, nil, "names no replica"},
		{ExitUsage, []string{"replica: " + w.dir + "/none.yaml"}, "replica: read config"},
		{ExitUsage, []string{"replica: " + secondary, "namespace: sales"}, "the replica's namespace is default, and that of"},
		{ExitUsage, []string{"replica: " + w.config}, "are the same repository"},
		{ExitUsage, []string{"replica:\n    key_file: " + w.key}, "the option repository is missing"},
		{ExitRepository, []string{"replica:\n    repository: " + w.dir + "/replica\n    key_file: " + w.key}, "does not belong to this repository"},
		{ExitRepository, []string{"replica:\n    repository: " + w.dir + "/nowhere\n    key_file: " + w.key}, "replica: open repository"},
	} {
		w.configure(x.options...)
		w.env = append(w.env, "GPDEDUP_REPO="+w.repository) // is not the replica's
		if said := w.bad(x.code, nil, "replicate_backup", w.config, ts); !strings.Contains(said, x.says) {
			t.Errorf("%q: %q", x.options, said)
		}
	}
	w.configure(nested)
	w.bad(ExitUsage, nil, "replicate_backup", w.config, "yesterday")
	w.bad(ExitUsage, nil, "delete_replica", w.config, "yesterday")
	w.bad(ExitFailed, nil, "replicate_backup", w.config, "20200101000000")
}

// TestReplicaKilled kills copies with SIGKILL, each when it has come some way further
// than the one before. Whatever is left is whole, what is visible is right, and the last
// one brings what is missing and no more.
func TestReplicaKilled(t *testing.T) {
	for _, shared := range []bool{true, false} {
		w := newWorld(t)
		secondary := w.withReplica(shared)
		content := make(map[string][]byte)
		for i := range 24 {
			data := rows(uint64(i), 300<<10)
			if i == 0 {
				data = rows(99, 12<<20)
			}
			path := w.path(fmt.Sprint(1000 + i))
			w.good(data, "backup_data", w.config, path)
			content[path] = data
		}
		manifests, killed := 0, 0
		for round := range 6 {
			cmd := w.command("replicate_backup", w.config, ts)
			w.must(cmd.Start())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = cmd.Wait() // how it ended is asked below
			}()
			for objects(t, w.dir+"/replica") < 2+4*round+manifests && !isClosed(ended) {
			}
			_ = cmd.Process.Kill() // it may have ended
			<-ended
			if exitCode(cmd) != 0 {
				killed++
			}
			manifests = len(visible(t, w, secondary, content))
		}
		if killed == 0 {
			t.Error("no copy was killed")
		}
		w.good(nil, "replicate_backup", w.config, ts)
		if got := visible(t, w, secondary, content); len(got) != len(content) {
			t.Errorf("%d streams of %d", len(got), len(content))
		}
		log, err := os.ReadFile(w.log)
		w.must(err)
		if want := fmt.Sprintf("there=%d ", manifests); !strings.Contains(string(log), want) {
			t.Errorf("the last copy brought again what was there: %d streams", manifests)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// objects counts the packs, fragments and manifests in a directory.
func objects(t *testing.T, dir string) (n int) {
	t.Helper()
	for _, sub := range []string{"packs", "index", "manifests"} {
		err := filepath.WalkDir(filepath.Join(dir, sub), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// visible checks that the replica is whole and that every stream that it shows is right,
// and returns these.
func visible(t *testing.T, w *world, config string, content map[string][]byte) (paths []string) {
	t.Helper()
	c, err := LoadConfig(config)
	w.must(err)
	c.Namespace = DefaultNamespace
	r, err := c.Open(context.Background(), "read", "test", nil)
	w.must(err)
	defer r.Close()
	report, err := r.Check(context.Background(), repo.CheckOptions{Level: repo.CheckData})
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("check: %v %+v", err, report)
	}
	for path, want := range content {
		var out bytes.Buffer
		err := r.Restore(context.Background(), mustName(t, path), &out, repo.RestoreOptions{})
		if errors.Is(err, repo.ErrNoStream) {
			continue
		}
		if err != nil || !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%s: %v, %d bytes of %d", path, err, out.Len(), len(want))
		}
		paths = append(paths, path)
	}
	return paths
}
