package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/target"
)

// executable is the program under test, which TestMain builds.
var executable string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		syscall.Umask(0o077) // as the server's children have it
		for _, v := range os.Environ() {
			if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GPDEDUP_") && name != "GPDEDUP_BINARY" {
				_ = os.Unsetenv(name) // its name is valid
			}
		}
		if executable = os.Getenv("GPDEDUP_BINARY"); executable != "" {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "gpdedup-plugin-test-*")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		executable = filepath.Join(dir, "gpdedup")
		build := exec.Command("go", "build", "-o", executable, "../cmd/gpdedup")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// world is a host with a repository, a configuration and a segment's data directory.
type world struct {
	t                                    *testing.T
	dir, repository, key, config, pgdata string
	cache, log                           string
	env                                  []string
}

const ts = "20261121220000"

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		t: t, dir: dir, repository: dir + "/repository", key: dir + "/key", config: dir + "/" + ts + "_gpdedup.yaml",
		pgdata: dir + "/pgdata", cache: dir + "/cache", log: dir + "/log",
		// Nearly nothing, as over ssh: no home directory.
		env: []string{"PATH=" + os.Getenv("PATH")},
	}
	w.must(os.Mkdir(w.pgdata, 0o700))
	w.must(repo.CreateKeyFile(w.key))
	st, err := target.Create(w.repository)
	w.must(err)
	_, err = repo.Init(context.Background(), st, repo.InitOptions{
		Secret: repo.Secret{KeyFile: w.key}, ChunkSize: repo.MinChunkSize, Now: time.Unix(1700000000, 0),
	})
	w.must(err)
	w.must(st.Close())
	w.configure("cache_dir: " + w.cache)
	t.Cleanup(func() {
		w.awaitChildren()
		left, err := os.ReadDir(w.pgdata)
		if err != nil || len(left) != 0 {
			t.Errorf("the working directory holds %v (%v)", left, err)
		}
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// configure writes the configuration: the repository, the key and more options.
func (w *world) configure(more ...string) {
	w.t.Helper()
	options := append([]string{"repository: " + w.repository, "key_file: " + w.key, "log_file: " + w.log}, more...)
	w.rawConfig("executablepath: " + executable + "\noptions:\n  " + strings.Join(options, "\n  ") + "\n")
}

func (w *world) rawConfig(text string) {
	w.t.Helper()
	w.must(os.WriteFile(w.config, []byte(text), 0o644))
}

// backupDir is the directory of a backup on a segment.
func (w *world) backupDir(timestamp string) string {
	return filepath.Join(w.dir, "seg0", "backups", timestamp[:8], timestamp)
}

// path is what gpbackup calls a table's stream.
func (w *world) path(tail string) string {
	return filepath.Join(w.backupDir(ts), "gpbackup_0_"+ts+"_"+tail)
}

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(executable, args...)
	cmd.Dir, cmd.Env = w.pgdata, w.env
	return cmd
}

// result is how a process ended.
type result struct {
	code           int // 128+n for signal n
	stdout, stderr string
}

// finish runs a command.
func finish(t *testing.T, cmd *exec.Cmd, in []byte) result {
	t.Helper()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if in != nil {
		// A pipe, as a server has it.
		cmd.Stdin = struct{ *bytes.Reader }{bytes.NewReader(in)}
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		// A process that does not read its input is none of our troubles here.
		if !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
	}
	return result{exitCode(cmd), out.String(), said.String()}
}

func exitCode(cmd *exec.Cmd) int {
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func (w *world) run(in []byte, args ...string) result {
	w.t.Helper()
	return finish(w.t, w.command(args...), in)
}

// good runs a command that has to succeed in silence and returns its output.
func (w *world) good(in []byte, args ...string) string {
	w.t.Helper()
	r := w.run(in, args...)
	if r.code != 0 || r.stderr != "" {
		w.t.Fatalf("%v: exit %d, stderr %q", args, r.code, r.stderr)
	}
	return r.stdout
}

// bad runs a command that has to fail with that code, without any output, and
// returns what it says.
func (w *world) bad(code int, in []byte, args ...string) string {
	w.t.Helper()
	r := w.run(in, args...)
	if r.code != code || r.stdout != "" {
		w.t.Errorf("%v: exit %d, %d bytes on stdout, stderr %q; want exit %d", args, r.code, len(r.stdout), r.stderr, code)
	}
	w.checkSaid(r.stderr)
	return r.stderr
}

// checkSaid checks the form of an error message.
func (w *world) checkSaid(said string) {
	w.t.Helper()
	lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
	if !strings.HasPrefix(lines[0], "gpdedup: ") || len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
		w.t.Errorf("not an error message: %q", said)
	}
}

func (w *world) open() *repo.Repo {
	w.t.Helper()
	c := &Config{Repository: w.repository, Secret: repo.Secret{KeyFile: w.key}}
	r, err := c.Open(context.Background(), "write", "test", nil)
	w.must(err)
	w.t.Cleanup(func() { w.must(r.Close()) })
	return r
}

// stored returns the base names of what is stored under a timestamp.
func (w *world) stored(timestamp string) []string {
	w.t.Helper()
	items, err := w.open().Items(context.Background(), repo.Backup, DefaultNamespace, timestamp)
	w.must(err)
	var names []string
	for _, item := range items {
		names = append(names, item.Name.Item)
	}
	return names
}

// rows is n bytes of something like a table.
func rows(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,row %x,\"quoted \"\" text\",\\N,%d\n", i, rng.Uint64(), rng.Uint32())
	}
	return b.Bytes()[:n]
}
