package plugin

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestVersions(t *testing.T) {
	w := newWorld(t)
	w.env = nil
	link := filepath.Join(w.dir, "gpbackup_dedup")
	w.must(os.Symlink(executable, link))
	cmd := exec.Command(link, "--version")
	cmd.Env, cmd.Dir = []string{}, w.pgdata
	r := finish(t, cmd, nil)
	words := strings.Fields(r.stdout)
	if r.code != 0 || r.stderr != "" || len(words) != 3 || r.stdout != "gpbackup_dedup version "+words[2]+"\n" {
		t.Errorf("--version: %+v", r)
	}
	if got := w.good(nil, "plugin_api_version"); got != "0.5.0\n" {
		t.Errorf("plugin_api_version: %q", got)
	}
}

// TestRoundTrip: every content, data and files, under one namespace of names.
func TestRoundTrip(t *testing.T) {
	w := newWorld(t)
	w.must(os.MkdirAll(w.backupDir(ts), 0o755))
	for i, data := range [][]byte{{}, []byte("a"), []byte("no newline\r\n\x00"), rows(1, 300<<10), rows(2, 5<<20)} {
		data = append([]byte{}, data...)
		stream, file := w.path(fmt.Sprint(i)), w.path(fmt.Sprint("f", i))
		if out := w.good(data, "backup_data", w.config, stream); out != "" {
			t.Errorf("backup_data printed %q", out)
		}
		w.must(os.WriteFile(file, data, 0o444))
		before, err := os.Stat(file)
		w.must(err)
		w.good(nil, "backup_file", w.config, file)
		after, err := os.Stat(file)
		w.must(err)
		if !after.ModTime().Equal(before.ModTime()) || after.Mode() != before.Mode() {
			t.Error("backup_file changed the file")
		}
		// The other segment's directory names the same streams.
		other := "/resized/seg7/backups/" + ts[:8] + "/" + ts + "/"
		for _, name := range []string{stream, file} {
			if got := w.good(nil, "restore_data", w.config, other+filepath.Base(name)); got != string(data) {
				t.Errorf("restore_data of %s: %d bytes of %d", name, len(got), len(data))
			}
			w.good(nil, "restore_file", w.config, name)
			got, err := os.ReadFile(name)
			info, statErr := os.Stat(name)
			if err != nil || statErr != nil || !bytes.Equal(got, data) || info.Mode() != 0o644 {
				t.Errorf("restore_file of %s: %d bytes of %d, mode %v, %v", name, len(got), len(data), info.Mode(), err)
			}
		}
	}
	m, err := w.open().Stream(t.Context(), mustName(t, w.path("4")))
	w.must(err)
	host, _ := os.Hostname()
	if o := m.Origin; o.Host != host || o.Path != w.path("4") || o.Command != "backup_data" || o.Version == "" || o.Time.IsZero() {
		t.Errorf("origin %+v", o)
	}
	if log, err := os.ReadFile(w.log); err != nil || !strings.Contains(string(log), "msg=stored") {
		t.Errorf("log %q, %v", log, err)
	}
	if info, err := os.Stat(w.log); err != nil || info.Mode() != 0o600 {
		t.Errorf("log: %v, %v", info, err)
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t)
	plain := w.path("1")
	w.good(rows(1, 1000), "backup_data", w.config, plain)
	offsets := func(text string) string {
		path := filepath.Join(w.dir, "offsets")
		w.must(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for _, args := range [][]string{
		{"backup_data"},
		{"backup_data", w.config},
		{"backup_data", w.config, plain, "more"},
		{"backup_data", w.dir + "/missing.yaml", plain},
		{"backup_data", w.dir, plain},
		{"backup_data", w.config, "/no/timestamp"},
		{"backup_data", w.config, ""},
		{"backup_data", w.config, "/x/" + ts + "/" + strings.Repeat("n", 201)},
		{"backup_file", w.config, "/no/timestamp"},
		{"restore_file", w.config, "/no/timestamp"},
		{"restore_data", w.config, "/no/timestamp"},
		{"restore_data", w.config},
		{"restore_data_subset", w.config, plain},
		{"restore_data_subset", w.config, plain, w.dir + "/missing"},
		{"restore_data_subset", w.config, plain, offsets("2 0 1")},
		{"setup_plugin_for_backup", w.config},
		{"setup_plugin_for_backup", w.config, "/dir"},
		{"setup_plugin_for_backup", w.config, "/dir", "everywhere"},
		{"setup_plugin_for_backup", w.config, "/dir", "master", "one"},
		{"setup_plugin_for_backup", w.config, "/dir", "master", "-1", "more"},
		{"setup_plugin_for_backup", w.dir + "/missing.yaml", "/dir", "master", `"-1"`},
		{"setup_plugin_for_restore", w.config, "/dir", "everywhere"},
		{"cleanup_plugin_for_backup", w.config, "/dir", "everywhere"},
		{"cleanup_plugin_for_restore", w.config, "/dir"},
		{"delete_backup", w.config},
		{"delete_backup", w.config, ts[1:]},
		{"delete_backup", w.config, ts + "0"},
		{"delete_backup", w.config, "../" + ts},
		{"delete_backup", w.config, ""},
		{"delete_directory", w.config, "/x/backups"},
		{"list_directory", w.config, "/x/backups"},
		{"list_directory"},
		{"plugin_api_version", "more"},
		{"replicate_backup", w.config, ts},
		{"fetch_data", w.config, plain},
	} {
		w.bad(2, nil, args...)
	}
	// A subset that the stream does not have.
	w.bad(2, nil, "restore_data_subset", w.config, plain, offsets("1 990 1001"))
	for _, text := range []string{
		"options: {}\n",
		"options:\n  repository: " + w.repository + "\n  unheard_of: 1\n",
		"options:\n  repository: relative\n",
		"more: 1\n",
	} {
		w.rawConfig(text)
		w.bad(2, rows(1, 10), "backup_data", w.config, plain)
		w.bad(2, nil, "restore_data", w.config, plain)
		w.bad(2, nil, "setup_plugin_for_restore", w.config, "/dir", "master", "-1")
	}
}

func TestNoRepository(t *testing.T) {
	w := newWorld(t)
	try := func() {
		t.Helper()
		w.bad(5, nil, "setup_plugin_for_backup", w.config, "/dir", "segment", `"0"`)
		w.bad(5, nil, "setup_plugin_for_restore", w.config, "/dir", "segment_host")
		w.bad(5, rows(1, 10), "backup_data", w.config, w.path("1"))
		w.bad(5, nil, "restore_data", w.config, w.path("1"))
		w.bad(5, nil, "delete_backup", w.config, ts)
	}
	whole := w.repository
	w.repository = w.dir + "/missing"
	w.configure()
	try()
	if _, err := os.Stat(w.repository); err == nil {
		t.Error("the missing directory was made")
	}
	w.repository = w.dir + "/empty"
	w.must(os.Mkdir(w.repository, 0o700))
	w.configure()
	try()
	w.repository, w.key = whole, w.dir+"/missing.key"
	w.configure()
	try()
	w.rawConfig("options:\n  repository: " + whole + "\n")
	try()
	// Cleaning up does not need anything.
	w.good(nil, "cleanup_plugin_for_backup", w.config, "/dir", "master", `"-1"`)
	w.good(nil, "cleanup_plugin_for_restore", w.dir+"/missing.yaml", "/dir", "segment_host")
}

func TestConflict(t *testing.T) {
	w := newWorld(t)
	key := w.path("1")
	for _, size := range []int{1000, 1 << 20} {
		key += "x"
		first, second := rows(1, size), rows(2, size)
		w.good(first, "backup_data", w.config, key)
		w.good(first, "backup_data", w.config, key)
		host, _ := os.Hostname()
		if said := w.bad(3, second, "backup_data", w.config, key); strings.Count(said, "host "+host) != 2 || !strings.Contains(said, "hint: ") {
			t.Errorf("the message does not name both origins: %s", said)
		}
		if got := w.good(nil, "restore_data", w.config, key); got != string(first) {
			t.Error("the first content is gone")
		}
	}
}

func TestEnvironment(t *testing.T) {
	w := newWorld(t)
	w.rawConfig("executablepath: x\n")
	w.env = append(w.env, "GPDEDUP_REPO="+w.repository, "GPDEDUP_KEY_FILE="+w.key, "GPDEDUP_NAMESPACE=other")
	w.good([]byte("data"), "backup_data", w.config, w.path("1"))
	// What the file says wins.
	w.rawConfig("options:\n  namespace: third\n")
	w.bad(1, nil, "restore_data", w.config, w.path("1"))
	w.rawConfig("options:\n  namespace: other\n")
	w.good(nil, "restore_data", w.config, w.path("1"))
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	next := "20261121220001"
	nextKey := w.backupDir(next) + "/gpbackup_0_" + next + "_1"
	w.good([]byte("data"), "backup_data", w.config, w.path("1"))
	w.good([]byte("more"), "backup_data", w.config, w.path("2"))
	w.good([]byte("next"), "backup_data", w.config, nextKey)
	list := func(args ...string) []string {
		t.Helper()
		return strings.Split(w.good(nil, append([]string{"list_directory", w.config}, args...)...), "\n")
	}
	if got := list(); !slices.Equal(got, []string{ts, next, ""}) {
		t.Errorf("timestamps %q", got)
	}
	if got := list(w.backupDir(ts)); !slices.Equal(got, []string{"gpbackup_0_" + ts + "_1", "gpbackup_0_" + ts + "_2", ""}) {
		t.Errorf("names %q", got)
	}
	if out := w.good(nil, "delete_backup", w.config, ts); out != "" {
		t.Errorf("delete_backup printed %q", out)
	}
	w.good(nil, "delete_backup", w.config, ts)
	w.good(nil, "delete_backup", w.config, "99999999999999")
	w.bad(3, nil, "restore_data", w.config, w.path("1"))
	w.bad(3, nil, "restore_file", w.config, w.path("1"))
	if _, err := os.Stat(w.path("1")); err == nil {
		t.Error("restore_file made a file")
	}
	w.bad(3, []byte("again"), "backup_data", w.config, w.path("3"))
	if got := list(); !slices.Equal(got, []string{next, ""}) {
		t.Errorf("timestamps %q", got)
	}
	if got := list(w.backupDir(ts)); !slices.Equal(got, []string{""}) {
		t.Errorf("names %q", got)
	}
	w.good(nil, "cleanup_plugin_for_backup", w.config, w.backupDir(ts), "master", `"-1"`)
	if got := w.good(nil, "restore_data", w.config, nextKey); got != "next" {
		t.Errorf("next backup: %q", got)
	}
	w.good(nil, "delete_directory", w.config, w.backupDir(next)+"/")
	w.bad(3, nil, "restore_data", w.config, nextKey)
}

// TestClosedInput: a stream that was never there is not an empty one, and one that
// nobody can read is not restored.
func TestClosedInput(t *testing.T) {
	w := newWorld(t)
	cmd := exec.Command("sh", "-c", `exec "$0" "$@" <&-`, executable, "backup_data", w.config, w.path("1"))
	cmd.Dir, cmd.Env = w.pgdata, w.env
	if r := finish(t, cmd, nil); r.code != 1 || !strings.Contains(r.stderr, "standard input is closed") {
		t.Errorf("%+v", r)
	}
	w.good(nil, "backup_data", w.config, w.path("2")) // from /dev/null
	cmd = exec.Command("sh", "-c", `exec "$0" "$@" >&-`, executable, "restore_data", w.config, w.path("2"))
	cmd.Dir, cmd.Env = w.pgdata, w.env
	if r := finish(t, cmd, nil); r.code != 1 || !strings.Contains(r.stderr, "standard output is closed") {
		t.Errorf("%+v", r)
	}
	if got := w.stored(ts); !slices.Equal(got, []string{filepath.Base(w.path("2"))}) {
		t.Errorf("stored %q", got)
	}
}

// TestNobodyListens: that nobody reads the error does not change the exit code.
func TestNobodyListens(t *testing.T) {
	w := newWorld(t)
	r, said, err := os.Pipe()
	w.must(err)
	w.must(r.Close())
	defer said.Close()
	cmd := w.command("backup_data", w.config, "/no/timestamp")
	cmd.Stderr = said
	_ = cmd.Run()
	if exitCode(cmd) != 2 {
		t.Errorf("exit %d", exitCode(cmd))
	}
}

// TestOneKeyAtOnce: of two processes that store one name at once, with other
// content, one wins; with the same content both do.
func TestOneKeyAtOnce(t *testing.T) {
	w := newWorld(t)
	for i, same := range []bool{true, false} {
		key := w.path(fmt.Sprint(i))
		data := [2][]byte{rows(1, 1<<20), rows(1, 1<<20)}
		if !same {
			data[1] = rows(2, 1<<20)
		}
		var results [2]result
		var wait sync.WaitGroup
		for k := range results {
			wait.Go(func() { results[k] = w.run(data[k], "backup_data", w.config, key) })
		}
		wait.Wait()
		codes := []int{results[0].code, results[1].code}
		winner := slices.Index(codes, 0)
		slices.Sort(codes)
		if want := map[bool][]int{true: {0, 0}, false: {0, 3}}[same]; !slices.Equal(codes, want) {
			t.Fatalf("same content %v: %+v", same, results)
		}
		if got := w.good(nil, "restore_data", w.config, key); got != string(data[winner]) {
			t.Error("not the winner's content")
		}
	}
}

// TestManyAtOnce is a segment host in the middle of a backup.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	const processes = 64
	content := func(i int) []byte { return append(rows(uint64(i%4), 40<<10*(i%16)), rows(uint64(100+i), 30<<10)...) }
	var wait sync.WaitGroup
	for i := range processes {
		wait.Go(func() {
			if r := w.run(content(i), "backup_data", w.config, w.path(fmt.Sprint(i))); r.code != 0 || r.stderr != "" {
				t.Errorf("process %d: %+v", i, r)
			}
		})
	}
	wait.Wait()
	for i := range processes {
		if got := w.good(nil, "restore_data", w.config, w.path(fmt.Sprint(i))); got != string(content(i)) {
			t.Errorf("stream %d came back with %d bytes", i, len(got))
		}
	}
}
