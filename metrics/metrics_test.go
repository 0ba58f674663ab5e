package metrics

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func begin(path, command string) *Run {
	r := Begin(path, command, time.Now())
	r.Describe("default", "/backup/gpdedup")
	return r
}

func end(t *testing.T, r *Run, code int) {
	t.Helper()
	if err := r.End(code); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, path, sample string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, sample+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "absent"
}

const labels = `{command="repo prune",namespace="default",repository="/backup/gpdedup"`

func TestRunsAddUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gpdedup.prom")
	r := begin(path, "repo prune")
	r.Stored(Stream{Streams: 1, Bytes: 100, New: 30, Stored: 10, Chunks: 4, NewChunks: 2})
	r.Set(PruneKept, 77)
	end(t, r, 0)
	end(t, r, 4) // too late
	r = begin(path, "repo prune")
	r.Stored(Stream{Streams: 2, Bytes: 50})
	r.Set(PruneKept, 5)
	end(t, r, 1)
	end(t, begin(path, "repo check"), 0)
	for sample, want := range map[string]string{
		"gpdedup_runs_total" + labels + `,code="0"}`:                                                         "1",
		"gpdedup_runs_total" + labels + `,code="1"}`:                                                         "1",
		"gpdedup_runs_total" + labels + `,code="4"}`:                                                         "0",
		"gpdedup_last_exit_code" + labels + "}":                                                              "1",
		"gpdedup_read_bytes_total" + labels + "}":                                                            "150",
		"gpdedup_deduplicated_bytes_total" + labels + "}":                                                    "120",
		"gpdedup_streams_stored_total" + labels + "}":                                                        "3",
		"gpdedup_prune_kept_bytes" + labels + "}":                                                            "5",
		`gpdedup_runs_total{command="repo check",namespace="default",repository="/backup/gpdedup",code="0"}`: "1",
	} {
		if got := value(t, path, sample); got != want {
			t.Errorf("%s is %s, want %s", sample, got, want)
		}
	}
	success, last := value(t, path, "gpdedup_last_success_timestamp_seconds"+labels+"}"), value(t, path, "gpdedup_last_run_timestamp_seconds"+labels+"}")
	if success == "absent" || success > last || !strings.HasPrefix(last, fmt.Sprint(time.Now().Unix())[:6]) {
		t.Errorf("last success %s, last run %s", success, last)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	checkFormat(t, path)
}

// checkFormat holds a file to Prometheus' text format: HELP and TYPE once, before the
// samples, and no sample twice.
func checkFormat(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sample := regexp.MustCompile(`^([a-z_]+)\{([a-z]+="([^"\\]|\\.)*",?)+\} -?[0-9.]+$`)
	seen := make(map[string]bool)
	current := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if seen[line] {
			t.Errorf("twice: %s", line)
		}
		seen[line] = true
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			current, _, _ = strings.Cut(name, " ")
		} else if m := sample.FindStringSubmatch(line); !strings.HasPrefix(line, "#") && (m == nil || m[1] != current) {
			t.Errorf("after the type of %q: %s", current, line)
		}
	}
}

// TestNothingIsLost: many at once, some of whom do not get the lock in time.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gpdedup.prom")
	const writers, runs = 24, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range runs {
				r := begin(path, "repo prune")
				r.Add(PruneFreed, 1000)
				ctx, cancel := context.WithCancel(context.Background())
				if (w+i)%3 == 0 {
					cancel() // no patience at all
				}
				f := &file{path: path}
				if err := f.merge(ctx, r.update()); err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	end(t, begin(path, "repo prune"), 0)
	if got := value(t, path, "gpdedup_prune_freed_bytes_total"+labels+"}"); got != fmt.Sprint(1000*writers*runs) {
		t.Errorf("%s bytes freed, want %d", got, 1000*writers*runs)
	}
	if left, err := filepath.Glob(path + ".lock-*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestHeldLock: who cannot wait leaves its numbers, whole, for the next.
func TestHeldLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gpdedup.prom")
	r := begin(path, "report")
	r.Set(DatabaseLast, 1, "default", "old")
	end(t, r, 0)
	lock, err := os.OpenFile(path+".lock", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	r = begin(path, "report")
	r.Afresh(DatabaseLast)
	r.Set(DatabaseLast, 2, "default", `new "x", command="y"`)
	end(t, r, 0)
	const old = `gpdedup_database_last_complete_timestamp_seconds{command="report",repository="/backup/gpdedup",namespace="default",database="old"}`
	if got := value(t, path, old); got != "1" {
		t.Errorf("while the lock is held: %s", got)
	}
	_ = lock.Close() // which unlocks it
	end(t, begin(path, "repo prune"), 0)
	if got := value(t, path, old); got != "absent" {
		t.Errorf("after it: %s", got)
	}
	if got := value(t, path, `gpdedup_database_last_complete_timestamp_seconds{command="report",repository="/backup/gpdedup",namespace="default",database="new \"x\", command=\"y\""}`); got != "2" {
		t.Errorf("what was left is %s", got)
	}
	checkFormat(t, path)
}

// TestForeignFiles: what is none of ours stays, and nothing hangs.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	foreign := filepath.Join(dir, "passwd")
	if err := os.WriteFile(foreign, []byte("root:x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{foreign, pipe, filepath.Join(dir, "nosuch", "x.prom"), "/dev/null"} {
		if err := begin(path, "repo prune").End(0); err == nil {
			t.Errorf("%s was written", path)
		}
	}
	if data, err := os.ReadFile(foreign); err != nil || string(data) != "root:x\n" {
		t.Errorf("%q, %v", data, err)
	}
	if locks, err := filepath.Glob(dir + "/*.lock"); err != nil || len(locks) > 0 {
		t.Errorf("beside files of others: %v, %v", locks, err)
	}
	var none *Run
	none.Describe("a", "b")
	none.Add(Runs, 1)
	none.Stored(Stream{})
	none.Restored(1, 1)
	none.Afresh(DatabaseLast)
	none.SetTime(BaseLast, time.Now())
	if err := none.End(0); err != nil {
		t.Error(err)
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := Begin(dir, "backup_data", time.Now())
	r.Describe("a/b", "x")
	end(t, r, 0)
	r = Begin(dir+"/", "wal push", time.Now())
	end(t, r, 0)
	got, err := filepath.Glob(dir + "/*.prom")
	if want := []string{dir + "/gpdedup_backup_data_a_b.prom", dir + "/gpdedup_wal_push.prom"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, m := range All() {
		if seen[m.Name] || m.Name == "" || m.Help == "" || (m.Kind == Counter) != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%+v", m)
		}
		seen[m.Name] = true
	}
}

func FuzzDecode(f *testing.F) {
	r := begin("x", "report")
	r.Afresh(DatabaseLast)
	r.Set(DatabaseLast, 2, "a,b", "\"\\\n")
	f.Add(r.update().encode(true))
	f.Add([]byte(signature + "x{a=\"b\"} 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, ours := decode(data)
		if !ours {
			return
		}
		once := s.encode(true)
		again, _ := decode(once)
		if string(again.encode(true)) != string(once) {
			t.Errorf("%q becomes %q", once, again.encode(true))
		}
	})
}

func BenchmarkRun(b *testing.B) {
	path := filepath.Join(b.TempDir(), "gpdedup.prom")
	for b.Loop() {
		r := begin(path, "wal push")
		r.Add(WALPushed, 1, "0")
		if err := r.End(0); err != nil {
			b.Fatal(err)
		}
	}
}
