package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage/s3/s3test"
)

// TestProcesses stores, deletes and prunes with processes of the program, all at
// once, that are killed and stopped at random. Then everything that was acknowledged
// restores, nothing is damaged, and a last prune leaves little more than a new
// repository with the same content takes.
func TestProcesses(t *testing.T) {
	newYard(t, uint64(os.Getpid())).run(12)
}

// TestProcessesOnAServer does the same in a bucket.
func TestProcessesOnAServer(t *testing.T) {
	newYardIn(t, uint64(os.Getpid()), s3test.Start(t)).run(6)
}

// yard is a repository and the processes that work on it.
type yard struct {
	t                              *testing.T
	dir, program, repository, yaml string
	env                            []string
	seed                           uint64

	mu      sync.Mutex
	cond    *sync.Cond
	streams map[string]*kept // by the words that restore it
	ended   int              // processes, of all lanes
	lanes   int              // that are still at work
	stopped int              // processes that SIGSTOP holds
	report  map[string]int
}

// kept is one stream.
type kept struct {
	content []byte
	stored  bool // acknowledged, and not deleted since
	deleted bool // the deletion was acknowledged
	named   string
}

func newYard(t *testing.T, seed uint64) *yard {
	t.Helper()
	return newYardIn(t, seed, nil)
}

// newYardIn makes the repository in a bucket of the server, or in a directory if that is nil.
func newYardIn(t *testing.T, seed uint64, server *s3test.Server) *yard {
	t.Helper()
	dir := t.TempDir()
	y := &yard{
		t: t, dir: dir, program: os.Getenv("GPDEDUP_BINARY"), repository: filepath.Join(dir, "repository"),
		yaml: filepath.Join(dir, "plugin.yaml"), seed: seed, streams: map[string]*kept{}, report: map[string]int{},
	}
	y.cond = sync.NewCond(&y.mu)
	if y.program == "" {
		// This test's own executable is the program under the program's name.
		self, err := os.Executable()
		y.must(err)
		y.program = filepath.Join(dir, "gpdedup")
		y.must(os.Symlink(self, y.program))
	}
	y.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GPDEDUP_KEY_FILE=" + dir + "/key", "GPDEDUP_CACHE_DIR=" + dir + "/cache"}
	if server != nil {
		y.repository = server.Location("yard")
		y.env = append(y.env, server.Env()...)
	}
	y.must(os.WriteFile(y.yaml, []byte("executablepath: "+y.program+"\noptions:\n  repository: "+y.repository+
		"\n  key_file: "+dir+"/key\n  cache_dir: "+dir+"/cache\n  log_file: "+dir+"/log\n"), 0o600))
	y.init(y.repository)
	return y
}

func (y *yard) init(repository string) {
	y.t.Helper()
	if code, _, said := y.finish(repository, nil, "repo", "init", "--chunk-size", "16KiB"); code != 0 {
		y.t.Fatalf("init: %d %s", code, said)
	}
}

func (y *yard) must(err error) {
	y.t.Helper()
	if err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) command(repository string, in []byte, args ...string) (cmd *exec.Cmd, out, said *bytes.Buffer) {
	cmd = exec.Command(y.program, args...)
	cmd.Dir, cmd.Env = y.dir, append(slices.Clip(y.env), "GPDEDUP_REPO="+repository)
	out, said = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, said
	if in != nil {
		cmd.Stdin = struct{ *bytes.Reader }{bytes.NewReader(in)} // through a pipe
	}
	return cmd, out, said
}

// finish runs a command undisturbed. The code is -1 if a signal ended it.
func (y *yard) finish(repository string, in []byte, args ...string) (code int, out []byte, said string) {
	cmd, stdout, stderr := y.command(repository, in, args...)
	err := cmd.Run()
	return exitCodeOf(err), stdout.Bytes(), stderr.String()
}

func exitCodeOf(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -2
}

// suffer runs a command that may be killed, or stopped until some others have ended.
func (y *yard) suffer(rng *rand.Rand, in []byte, args ...string) (code int, out []byte, said string) {
	cmd, stdout, stderr := y.command(y.repository, in, args...)
	y.must(cmd.Start())
	after := time.Duration(rng.Int64N(int64(120 * time.Millisecond)))
	var disturbed sync.WaitGroup
	over := make(chan struct{})
	what := rng.IntN(3)
	if what < 2 {
		disturbed.Go(func() {
			select {
			case <-time.After(after): // anywhere in its life
			case <-over:
				return
			}
			if what == 0 {
				y.count("killed")
				_ = cmd.Process.Kill() // it may have ended
				return
			}
			if y.stop(cmd.Process, 1+rng.IntN(4)) {
				y.count("stopped")
			}
		})
	}
	err := cmd.Wait()
	close(over)
	disturbed.Wait()
	y.mu.Lock()
	y.ended++
	y.cond.Broadcast()
	y.mu.Unlock()
	return exitCodeOf(err), stdout.Bytes(), stderr.String()
}

// stop holds a process until n others have ended, or nobody is left to end. One lane
// always stays free to go on.
func (y *yard) stop(p *os.Process, n int) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.stopped+1 >= y.lanes || p.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	y.stopped++
	y.cond.Broadcast() // for whoever waits for something to do
	for until := y.ended + n; y.ended < until && y.stopped < y.lanes; {
		y.cond.Wait()
	}
	y.stopped--
	_ = p.Signal(syscall.SIGCONT) // nobody else has reaped it
	return true
}

func (y *yard) count(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.report[what]++
}

// run has all lanes do so many rounds, and then looks at what has come of it.
func (y *yard) run(rounds int) {
	y.t.Helper()
	work := []func(rng *rand.Rand, round int){y.storeStream, y.storeBackup, y.remove, y.prune, y.prune}
	y.lanes = len(work)
	var lanes sync.WaitGroup
	for n, f := range work {
		lanes.Go(func() {
			rng := rand.New(rand.NewPCG(y.seed, uint64(n)))
			for round := range rounds {
				f(rng, round)
			}
			y.mu.Lock()
			y.lanes--
			y.cond.Broadcast()
			y.mu.Unlock()
		})
	}
	lanes.Wait()
	y.t.Logf("seed %d: %v", y.seed, y.report)
	y.judge()
}

// dayOf is a lane's content of a round: every round changes a little of the one
// before, all over, and adds some.
func dayOf(rng *rand.Rand, before []byte) []byte {
	data := bytes.Clone(before)
	if data == nil {
		data = make([]byte, 600<<10)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
	}
	for range 60 {
		data[rng.IntN(len(data))]++
	}
	more := make([]byte, 40<<10)
	for i := range more {
		more[i] = byte(rng.Uint32())
	}
	at := rng.IntN(len(data))
	return slices.Concat(data[:at], more, data[at:])
}

// newest returns the content that the lane stored last.
func (y *yard) newest(prefix string) (content []byte) {
	y.mu.Lock()
	defer y.mu.Unlock()
	last := ""
	for id, k := range y.streams {
		if strings.HasPrefix(id, prefix) && id > last {
			last, content = id, k.content
		}
	}
	return content
}

func (y *yard) storeStream(rng *rand.Rand, _ int) {
	data := dayOf(rng, y.newest("stream get "))
	code, out, said := y.suffer(rng, data, "--json", "stream", "put", "table")
	y.count(fmt.Sprint("stream put: ", code))
	y.mu.Lock()
	defer y.mu.Unlock()
	if code == 0 {
		var report struct{ Version string }
		y.noError(json.Unmarshal(out, &report))
		name := "table@" + report.Version
		y.streams["stream get "+name] = &kept{content: data, stored: true, named: "stream delete " + name}
		return
	}
	y.understood(code, said)
	// If it is visible all the same, it must be this.
	y.streams[fmt.Sprintf("stream get table@?%d", len(y.streams))] = &kept{content: data}
}

func (y *yard) storeBackup(rng *rand.Rand, round int) {
	ts := fmt.Sprintf("20261122%06d", round)
	path := y.dir + "/seg0/backups/20261122/" + ts + "/gpbackup_0_" + ts + "_1"
	id := "restore_data " + y.yaml + " " + path
	k := &kept{content: dayOf(rng, y.newest("restore_data ")), named: "backup delete " + ts}
	for try := range 3 {
		code, _, said := y.suffer(rng, k.content, "backup_data", y.yaml, path)
		y.count(fmt.Sprint("backup_data: ", code))
		y.mu.Lock()
		y.streams[id] = k
		k.stored = k.stored || code == 0
		if code != 0 {
			y.understood(code, said)
		}
		done := k.stored
		y.mu.Unlock()
		if done || try == 2 {
			return
		}
	}
}

// remove deletes something that is stored, or takes a deletion back.
func (y *yard) remove(rng *rand.Rand, round int) {
	y.mu.Lock()
	var ids []string
	for id, k := range y.streams {
		if k.stored && k.named != "" {
			ids = append(ids, id)
		}
	}
	for len(ids) < 2 && y.stopped+1 < y.lanes && y.ended < 10*(round+1) {
		y.cond.Wait() // for something to delete
		ids = nil
		for id, k := range y.streams {
			if k.stored && k.named != "" {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) < 2 {
		y.mu.Unlock()
		return
	}
	slices.Sort(ids)
	k := y.streams[ids[rng.IntN(len(ids)-1)]] // never the newest of all
	k.stored = false                          // from now on nobody promises
	y.mu.Unlock()
	code, _, said := y.suffer(rng, nil, strings.Fields(k.named)...)
	y.count(fmt.Sprint("delete: ", code))
	y.mu.Lock()
	defer y.mu.Unlock()
	k.deleted = code == 0
	if code != 0 {
		y.understood(code, said)
	}
}

func (y *yard) prune(rng *rand.Rand, _ int) {
	grace := []string{"0s", "1s"}[rng.IntN(2)]
	code, out, said := y.suffer(rng, nil, "--json", "repo", "prune", "--grace", grace, "--max-unused", "0")
	y.count(fmt.Sprint("prune: ", code))
	y.mu.Lock()
	defer y.mu.Unlock()
	if code != 0 {
		y.understood(code, said)
		return
	}
	var report struct {
		RemovedPacks  int `json:"removed_packs"`
		RescuedChunks int `json:"rescued_chunks"`
		CopiedChunks  int `json:"copied_chunks"`
	}
	y.noError(json.Unmarshal(out, &report))
	y.report["packs removed"] += report.RemovedPacks
	y.report["chunks rescued"] += report.RescuedChunks
	y.report["chunks copied"] += report.CopiedChunks
}

// understood makes sure that a process that was not killed said why it failed: with
// so short a grace a chunk may go while it is wanted, and nothing else may happen.
func (y *yard) understood(code int, said string) {
	gone := strings.Contains(said, "removed meanwhile") || strings.Contains(said, "repository changed meanwhile")
	if code == -1 || code == 1 && gone {
		return
	}
	y.t.Errorf("exit %d: %s", code, said)
}

func (y *yard) noError(err error) {
	if err != nil {
		y.t.Error(err)
	}
}

// judge looks at what is left when all processes have ended.
func (y *yard) judge() {
	y.t.Helper()
	y.restoreAll("at the end")
	y.check("at the end")
	code, pruned, said := y.finish(y.repository, nil, "--json", "repo", "prune", "--exclusive")
	if code != 0 {
		y.t.Errorf("prune --exclusive: exit %d\n%s%s", code, pruned, said)
	}
	y.restoreAll("after a last prune")
	y.check("after a last prune")
	fresh := filepath.Join(y.dir, "fresh")
	y.init(fresh)
	for _, stream := range y.visible() {
		if code, _, said := y.finish(fresh, stream.content, "stream", "put", "table"); code != 0 {
			y.t.Fatalf("fresh: exit %d, %s", code, said)
		}
	}
	was, is, copied := y.sizes(y.repository), y.sizes(fresh), y.sizes(y.copy())
	y.t.Logf("%v, fresh %v, copied %v", was, is, copied)
	// What only a stream needs that was never acknowledged and has lost chunks stays.
	var report struct {
		WaitingBytes int64 `json:"waiting_bytes"`
	}
	y.must(json.Unmarshal(pruned, &report))
	// Streams that came at the same time did not become deltas of one another, as they do when
	// they are stored one after the other; a copy keeps them as they are, and nothing else.
	most := max(is["all"], copied["all"])
	if was["all"]-report.WaitingBytes > most+most/20 {
		y.t.Errorf("the repository takes %v bytes, a fresh one with the same content %v, and a copy %v; %s", was, is, copied, pruned)
	}
}

// copy makes a repository of what the yard's needs, chunk by chunk as it is.
func (y *yard) copy() string {
	y.t.Helper()
	to, key := filepath.Join(y.dir, "copy"), y.dir+"/key"
	code, _, said := y.finish(to, nil, "repo", "init", "--copy-chunker-from", y.repository, "--from-key-file", key, "--key-file", y.dir+"/copy.key")
	if code != 0 {
		y.t.Fatalf("copy: init: exit %d, %s", code, said)
	}
	code, _, said = y.finish(y.repository, nil, "repo", "copy", "--from-key-file", key, "--to", to, "--to-key-file", y.dir+"/copy.key")
	if code != 0 && code != 4 { // streams that were never acknowledged may be damaged
		y.t.Fatalf("copy: exit %d, %s", code, said)
	}
	return to
}

// check finds no damage but in streams that were never acknowledged: their processes
// were killed before they had looked, or looked and failed.
func (y *yard) check(when string) {
	y.t.Helper()
	code, out, said := y.finish(y.repository, nil, "repo", "check", "--read-data")
	if code == 0 {
		return
	}
	for id, k := range y.streams {
		if k.stored && strings.Contains(string(out), id[strings.LastIndexAny(id, " /")+1:]) {
			y.t.Errorf("%s: check: exit %d\n%s%s", when, code, out, said)
		}
	}
	if code != 4 {
		y.t.Errorf("%s: check: exit %d\n%s%s", when, code, out, said)
	}
}

// restoreAll compares everything that is promised with what was stored.
func (y *yard) restoreAll(when string) {
	y.t.Helper()
	for id, k := range y.streams {
		if strings.Contains(id, "@?") {
			continue
		}
		code, out, said := y.finish(y.repository, nil, strings.Fields(id)...)
		switch {
		case k.stored && (code != 0 || !bytes.Equal(out, k.content)):
			y.t.Errorf("%s: %s: exit %d, %d of %d bytes, %s", when, id, code, len(out), len(k.content), said)
		case k.deleted && code == 0:
			y.t.Errorf("%s: %s restores although it was deleted", when, id)
		case code == 0 && !bytes.Equal(out, k.content):
			y.t.Errorf("%s: %s restores as other bytes", when, id)
		}
	}
	for _, v := range y.visible() {
		if !slices.ContainsFunc(slices.Collect(maps.Values(y.streams)), func(k *kept) bool { return bytes.Equal(k.content, v.content) }) {
			y.t.Errorf("%s: %s restores as bytes that nobody stored", when, v.named)
		}
	}
}

// visible restores what the repository lists, oldest first.
func (y *yard) visible() (out []kept) {
	y.t.Helper()
	code, list, said := y.finish(y.repository, nil, "--json", "stream", "list")
	if code != 0 {
		y.t.Fatalf("stream list: exit %d, %s", code, said)
	}
	var rows []struct{ Name, Version string }
	y.must(json.Unmarshal(list, &rows))
	for _, r := range rows {
		name := r.Name + "@" + r.Version
		code, content, said := y.finish(y.repository, nil, "stream", "get", name)
		if code != 0 {
			if k := y.streams["stream get "+name]; k != nil && k.stored || code != 4 {
				y.t.Errorf("%s is listed: exit %d, %s", name, code, said)
			}
			continue // it was never acknowledged
		}
		out = append(out, kept{content: content, named: name})
	}
	slices.SortFunc(out, func(a, b kept) int { return strings.Compare(a.named, b.named) })
	for id, k := range y.streams {
		if strings.HasPrefix(id, "restore_data ") && !k.deleted {
			if code, content, _ := y.finish(y.repository, nil, strings.Fields(id)...); code == 0 {
				out = append(out, kept{content: content, named: id})
			}
		}
	}
	return out
}

// sizes adds up what lies in each of a repository's directories.
func (y *yard) sizes(repository string) map[string]int64 {
	y.t.Helper()
	out := map[string]int64{}
	if strings.HasPrefix(repository, "s3:") {
		code, text, said := y.finish(repository, nil, "--json", "repo", "stats")
		if code != 0 {
			y.t.Fatalf("repo stats: exit %d, %s", code, said)
		}
		var stats struct {
			StoredBytes int64 `json:"stored_bytes"`
		}
		y.must(json.Unmarshal(text, &stats))
		out["all"] = stats.StoredBytes
		return out
	}
	y.must(filepath.WalkDir(repository, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(path, repository+"/"), "/")
		out[first] += info.Size()
		out["all"] += info.Size()
		return nil
	}))
	return out
}
