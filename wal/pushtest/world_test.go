package pushtest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// What all tests share: a place for servers, and the program.
var (
	host       *pgtest.Host
	executable string
)

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, &host, &executable))
}

// world is a repository that servers archive to.
type world struct {
	*testing.T
	dir, repository, key, cache string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: host.Mkdir(t)}
	w.repository, w.key, w.cache = filepath.Join(w.dir, "repository"), filepath.Join(w.dir, "key"), filepath.Join(w.dir, "cache")
	w.succeeds("repo", "init")
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) flags() []string {
	return []string{"--repo", w.repository, "--key-file", w.key, "--cache-dir", w.cache}
}

// archiving are a server's settings to archive to the repository; more are flags.
func (w *world) archiving(more ...string) []string {
	command := append([]string{executable, "wal push --cluster main %p"}, append(w.flags(), more...)...)
	return []string{"archive_mode = on", "archive_command = '" + strings.Join(command, " ") + "'"}
}

// command prepares one of ours, to be run as the server's user.
func (w *world) command(args ...string) *exec.Cmd {
	return host.Command(executable, append(args, w.flags()...)...)
}

// succeeds runs one of ours and returns what it printed.
func (w *world) succeeds(args ...string) string {
	w.Helper()
	code, out, said := ends(w.command(args...))
	if code != "0" || said != "" {
		w.Fatalf("%s: ends with %s\n%s%s", strings.Join(args, " "), code, out, said)
	}
	return out
}

// fails runs one of ours, which must end with the code and say what is asked for, in
// one line and perhaps a hint.
func (w *world) fails(code string, says []string, args ...string) {
	w.Helper()
	got, _, said := ends(w.command(args...))
	if got != code {
		w.Fatalf("%s: ends with %s, want %s\n%s", strings.Join(args, " "), got, code, said)
	}
	checkSaid(w.T, said, says...)
}

func checkSaid(t *testing.T, said string, says ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
	if !strings.HasPrefix(said, "gpdedup: ") || len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("not one line and a hint: %s", said)
	}
	for _, s := range says {
		if !strings.Contains(said, s) {
			t.Errorf("%q is not in: %s", s, said)
		}
	}
}

// ends runs a program and returns its code, or the name of its signal, and what it
// printed and said.
func ends(cmd *exec.Cmd) (code, out, said string) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return outcome(cmd, err), stdout.String(), stderr.String()
}

func outcome(cmd *exec.Cmd, err error) string {
	if cmd.ProcessState == nil {
		return err.Error()
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal().String()
	}
	return strconv.Itoa(cmd.ProcessState.ExitCode())
}

// pushed makes a server with some segments in its archive, and returns it running.
func (w *world) pushed(segments int, more ...string) (*pgtest.Cluster, []string) {
	w.Helper()
	c := host.NewCluster(w, pgtest.Options{Settings: append(w.archiving(), more...)})
	c.Start(w)
	var files []string
	for range segments {
		files = append(files, c.SwitchWAL(w))
	}
	if segments > 0 {
		c.Archived(w, files[segments-1])
	}
	return c, files
}

// survey is as much of `wal list --json` as the tests look at.
type survey struct {
	Archives []struct {
		Content string
		Epochs  []struct {
			System      string `json:"system_identifier"`
			SegmentSize int    `json:"segment_size"`
			Segments    int
			Timelines   []struct {
				Timeline, Parent int
				History          bool
				Ranges           []struct {
					First, Last string
					Segments    int
				}
				Gaps     []struct{ First, Last string }
				Partials []string
			}
			Backups []struct {
				File, Until string
				Consistent  bool
			}
			Standbys []struct{ Standby, From string }
		}
	}
}

func (w *world) list(args ...string) survey {
	w.Helper()
	var s survey
	w.must(json.Unmarshal([]byte(w.succeeds(append([]string{"wal", "list", "--cluster", "main", "--json"}, args...)...)), &s))
	return s
}

// whole fails the test unless every byte of the archive is good and nothing is missing.
func (w *world) whole() {
	w.Helper()
	w.succeeds("wal", "verify", "--cluster", "main", "--data")
}

// await is for what no server has to do with.
func (w *world) await(what string, condition func() bool) {
	w.Helper()
	pgtest.Await(w, what, condition)
}
