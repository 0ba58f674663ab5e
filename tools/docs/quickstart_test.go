package docs_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// world is where the commands of a document run: a home, with the built program in its
// PATH, as the user of the servers.
type world struct {
	*testing.T
	host *pgtest.Host
	home string
	env  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	host, err := pgtest.NewHost()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	binary := os.Getenv("GPDEDUP_BINARY")
	if binary == "" {
		binary = filepath.Join(t.TempDir(), "gpdedup")
		build := exec.Command("go", "build", "-o", binary, root+"/cmd/gpdedup")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	w := &world{T: t, host: host, home: host.Mkdir(t)}
	w.install(binary)
	w.env = []string{"HOME=" + w.home, "PATH=" + w.home + "/bin:" + filepath.Dir(host.Program("psql")) + ":/usr/bin:/bin"}
	return w
}

// install puts a program into the PATH.
func (w *world) install(program string) {
	w.Helper()
	content, err := os.ReadFile(program)
	if err != nil {
		w.Fatal(err)
	}
	w.write("bin/"+filepath.Base(program), string(content), 0o755)
}

// write makes a file below the home.
func (w *world) write(path, content string, mode os.FileMode) {
	w.Helper()
	full := filepath.Join(w.home, path)
	err := os.MkdirAll(filepath.Dir(full), 0o755)
	if err == nil {
		err = os.WriteFile(full, []byte(content), mode)
	}
	if err == nil {
		err = w.host.Give(w.home)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// run runs the script, stops at the first command that fails, and returns what was said.
func (w *world) run(script string) string {
	w.Helper()
	cmd := w.host.Command("bash", "-e", "-u", "-x", "-c", script)
	cmd.Dir = w.home
	cmd.Env = append(cmd.Env, w.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		w.Fatalf("%v\n%s", err, out.String())
	}
	return out.String()
}

// commands returns the indented lines of a section of a document: what a reader types.
func commands(t *testing.T, document, section string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+section+"\n")
	if !found {
		t.Fatalf("%s has no section %s", document, section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var script strings.Builder
	for line := range strings.Lines(rest) {
		if command, indented := strings.CutPrefix(line, "    "); indented {
			script.WriteString(command)
		}
	}
	return script.String()
}

func TestQuickStartAnyStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	content := make([]byte, 1<<20)
	for i := range 3 {
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(content) // never fails
		w.write(fmt.Sprintf("documents/%d", i), string(content), 0o600)
	}
	out := w.run(commands(t, "quickstart.md", "Any stream"))
	if !strings.Contains(out, "3.01 MiB, 3.01 MiB new") || !strings.Contains(out, "3.01 MiB, 0 B new") {
		t.Errorf("what did not change is stored again:\n%s", out)
	}
}

func TestQuickStartPostgreSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.host.NewCluster(t, pgtest.Options{})
	server.Start(t)
	w.env = append(w.env, "PGDATA="+server.Data, "PGHOST="+server.Socket(), "PGUSER=postgres", "PGDATABASE=postgres")
	t.Cleanup(func() {
		_, _ = w.host.Run(w.host.Program("pg_ctl"), "stop", "-m", "immediate", "-D", w.home+"/restored")
	})
	out := w.run(commands(t, "quickstart.md", "PostgreSQL"))
	if !strings.Contains(out, " answer \n--------\n     42\n") {
		t.Errorf("the table is not back:\n%s", out)
	}
}

func TestQuickStartGpbackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("backup/.keep", "", 0o600)
	w.write("hosts", "localhost\n", 0o600)
	w.write("table", strings.Repeat("1\tone\n2\ttwo\n", 50_000), 0o600)
	for _, program := range []string{"gpbackup", "gprestore", "gpsync"} {
		w.install("testdata/" + program)
	}
	out := w.run(commands(t, "quickstart.md", "gpbackup"))
	if !strings.Contains(out, "complete") {
		t.Errorf("no backup is complete:\n%s", out)
	}
	table, _ := os.ReadFile(filepath.Join(w.home, "table"))
	restored, err := os.ReadFile(filepath.Join(w.home, "restored"))
	if err != nil || !bytes.Equal(table, restored) {
		t.Errorf("restored %d of %d bytes: %v", len(restored), len(table), err)
	}
}
