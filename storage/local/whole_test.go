package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/repo"
)

// journal records what whole operations of a repository ask of the file system, so
// that a crash can be tried after each call: with everything done so far, with
// nothing but what was synced, and with this and that of what was not.
type journal struct {
	system
	mu    sync.Mutex
	calls []call
	files map[int]int // open descriptor → number of the file
	next  int
}

// call is one entry of the journal. Files and directories go by numbers, so that
// what happens to one is followed across renames.
type call struct {
	op       string // create, write, sync, link, unlink, mkdir; or ack: the caller was told
	file     int
	name, to string
	data     []byte
	note     string
}

func newJournal() *journal {
	return &journal{system: unixSystem{}, files: map[int]int{}, next: 1}
}

func (j *journal) note(c call) { j.calls = append(j.calls, c) }

func (j *journal) open(dir int, name string, flags int, mode uint32) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fd, err := j.system.open(dir, name, flags, mode)
	if err != nil {
		return fd, err
	}
	delete(j.files, fd)
	if flags&unix.O_CREAT != 0 {
		j.files[fd] = j.next
		j.note(call{op: "create", file: j.next, name: name})
		j.next++
	} else {
		j.files[fd] = -len(j.calls) - 1 // by its name at this time
		j.note(call{op: "open", file: j.files[fd], name: name})
	}
	return fd, nil
}

func (j *journal) write(fd int, b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, err := j.system.write(fd, b)
	if n > 0 {
		j.note(call{op: "write", file: j.files[fd], data: bytes.Clone(b[:n])})
	}
	return n, err
}

func (j *journal) sync(fd int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note(call{op: "sync", file: j.files[fd]})
	return nil
}

// named makes a call that gives or takes a name.
func (j *journal) named(c call, make func() error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := make()
	if err == nil {
		j.note(c)
	}
	return err
}

func (j *journal) link(dir int, from, to string) error {
	return j.named(call{op: "link", name: from, to: to}, func() error { return j.system.link(dir, from, to) })
}

func (j *journal) rename(int, string, string) error { return unix.EINVAL } // link does

func (j *journal) unlink(dir int, name string) error {
	return j.named(call{op: "unlink", name: name}, func() error { return j.system.unlink(dir, name) })
}

func (j *journal) mkdir(dir int, name string, mode uint32) error {
	return j.named(call{op: "mkdir", name: name}, func() error { return j.system.mkdir(dir, name, mode) })
}

func (j *journal) ack(note string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note(call{op: "ack", note: note})
}

// inode is a file or directory of a replay. Of a name in a directory, every state
// since the directory's last sync may be what a crash leaves.
type inode struct {
	dir     bool
	data    []byte
	synced  int
	entries map[string]*inode
	since   map[string][]*inode // states of names since the last sync, the one at it first; nil: no such name
}

func newInode(dir bool) *inode {
	return &inode{dir: dir, entries: map[string]*inode{}, since: map[string][]*inode{}}
}

func (n *inode) set(name string, to *inode) {
	if len(n.since[name]) == 0 {
		n.since[name] = []*inode{n.entries[name]}
	}
	n.since[name] = append(n.since[name], to)
	if to == nil {
		delete(n.entries, name)
	} else {
		n.entries[name] = to
	}
}

// replay is the state of the file system after a part of the journal.
type replay struct {
	root  *inode
	files map[int]*inode
	acks  []string
}

func newReplay() *replay { return &replay{root: newInode(true), files: map[int]*inode{}} }

func (r *replay) at(name string) *inode {
	n := r.root
	if name == "." {
		return n
	}
	for part := range strings.SplitSeq(name, "/") {
		if n == nil {
			return nil
		}
		n = n.entries[part]
	}
	return n
}

func (r *replay) apply(t *testing.T, c *call) {
	set := func(name string, to *inode) { r.at(path.Dir(name)).set(path.Base(name), to) }
	switch c.op {
	case "create":
		r.files[c.file] = newInode(false)
		set(c.name, r.files[c.file])
	case "open":
		r.files[c.file] = r.at(c.name)
	case "write":
		f := r.files[c.file]
		f.data = append(f.data, c.data...)
	case "sync":
		f := r.files[c.file]
		if f == nil {
			t.Fatalf("sync of something unknown")
		}
		f.synced = len(f.data)
		clear(f.since)
	case "link":
		set(c.to, r.at(c.name))
	case "unlink":
		set(c.name, nil)
	case "mkdir":
		set(c.name, newInode(true))
	case "ack":
		r.acks = append(r.acks, c.note)
	}
}

// choose picks what of n possibilities, oldest first, a crash leaves.
type choose func(n int) int

func everything(n int) int { return n - 1 }
func least(int) int        { return 0 }

// left returns the files that a crash leaves, by their names.
func (r *replay) left(pick choose) map[string][]byte {
	out := map[string][]byte{}
	var walk func(n *inode, at string)
	walk = func(n *inode, at string) {
		names := map[string]bool{}
		for name := range n.entries {
			names[name] = true
		}
		for name := range n.since {
			names[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			child := n.entries[name]
			if states := n.since[name]; len(states) > 0 {
				child = states[pick(len(states))]
			}
			switch {
			case child == nil:
			case child.dir:
				out[join(at, name)+"/"] = nil
				walk(child, join(at, name))
			default:
				keep := child.synced + pick(len(child.data)-child.synced+1)
				out[join(at, name)] = child.data[:keep]
			}
		}
	}
	walk(r.root, "")
	return out
}

// fingerprint leaves tmp/ out: nobody looks there.
func fingerprint(files map[string][]byte, acks []string) uint64 {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasPrefix(name, "tmp/") {
			_, _ = fmt.Fprintf(h, "%s %d %d\n", name, len(name), len(files[name]))
			_, _ = h.Write(files[name])
		}
	}
	_, _ = fmt.Fprint(h, len(acks))
	return h.Sum64()
}

// lay makes a directory of the files.
func lay(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var err error
		if d, ok := strings.CutSuffix(name, "/"); ok {
			err = os.Mkdir(filepath.Join(dir, d), 0o700)
		} else {
			err = os.WriteFile(filepath.Join(dir, name), files[name], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// unsynced is a system whose syncs take no time: what follows a replayed crash is
// not crashed again.
type unsynced struct{ unixSystem }

func (unsynced) sync(int) error { return nil }

// story is what is recorded: days that are stored, deleted and collected.
type story struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // of the test
	r    *repo.Repo
	ack  func(string)
	days map[string][]byte

	removed, merged int // packs, fragments
}

var wholeOptions = repo.Options{
	Delta: repo.DeltaOn, Concurrency: 2,
	Limits: repo.Limits{Inline: 1, SmallPack: 1, PackMin: 32 << 10, PackMax: 32 << 10, FragmentEntries: 4},
}

func day(d string) repo.Name {
	return repo.Name{Class: repo.Backup, Namespace: "default", Group: "202611" + d + "000000", Item: "t"}
}

func (s *story) write(d string, previous ...string) {
	s.t.Helper()
	var o repo.WriteOptions
	for _, p := range previous {
		o.Previous = append(o.Previous, day(p))
	}
	if _, err := s.r.Write(s.ctx, day(d), bytes.NewReader(s.days[d]), o); err != nil {
		s.t.Fatal(err)
	}
	s.ack("stored " + d)
}

func (s *story) remove(d string) {
	s.t.Helper()
	s.ack("deleting " + d)
	if err := s.r.Delete(s.ctx, day(d)); err != nil {
		s.t.Fatal(err)
	}
	s.ack("deleted " + d)
}

func (s *story) undelete(d string) {
	s.t.Helper()
	s.ack("undeleting " + d)
	if err := s.r.Undelete(s.ctx, day(d)); err != nil {
		s.t.Fatal(err)
	}
	s.ack("stored " + d)
}

// wholeDays are the contents of the days: each is the one before with changes all
// over, in one half of it.
func wholeDays() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	out := map[string][]byte{}
	data := make([]byte, 160<<10)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for d := 1; d <= 9; d++ {
		out[fmt.Sprintf("%02d", d)] = bytes.Clone(data)
		for range 40 {
			data[d%2*len(data)/2+rng.IntN(len(data)/2)]++
		}
	}
	return out
}

// TestWholeOperationsSurviveCrashes records a repository at work, and then crashes
// it after every call.
func TestWholeOperationsSurviveCrashes(t *testing.T) {
	j := newJournal()
	st := newStoreOn(t, j)
	s := &story{t: t, ctx: t.Context(), ack: j.ack, days: wholeDays()}
	if _, err := repo.Init(s.ctx, st, repo.InitOptions{ChunkSize: repo.MinChunkSize, Now: time.Unix(1700000000, 0)}); err != nil {
		t.Fatal(err)
	}
	j.ack("init")
	var err error
	if s.r, err = repo.Open(s.ctx, st, "write", wholeOptions); err != nil {
		t.Fatal(err)
	}
	s.write("01")
	s.write("02", "01")
	s.remove("01")
	s.undelete("01")
	s.remove("01")
	s.write("03", "02")
	s.collect()
	s.write("04", "03")
	s.remove("02")
	s.collect()
	s.collect()

	if s.removed == 0 || s.merged == 0 {
		t.Fatalf("%d packs were removed, %d fragments merged", s.removed, s.merged)
	}
	seen := map[uint64]bool{}
	rng := rand.New(rand.NewPCG(1, 3))
	rp := newReplay()
	tried, crashes := 0, 0
	for i := range j.calls {
		rp.apply(t, &j.calls[i])
		for mode, pick := range map[string]choose{"everything": everything, "what was synced": least, "some": rng.IntN, "other": rng.IntN} {
			crashes++
			files := rp.left(pick)
			sum := fingerprint(files, rp.acks)
			if seen[sum] || len(rp.acks) == 0 {
				continue
			}
			seen[sum] = true
			tried++
			if problem := s.afterCrash(files, rp.acks, tried%8 == 0); problem != "" {
				t.Fatalf("crash after call %d (%s %s), %s is left: %s", i, j.calls[i].op, j.calls[i].name+j.calls[i].to, mode, problem)
			}
		}
	}
	t.Logf("%d calls, %d crashes, %d of them different", len(j.calls), crashes, tried)
}

// afterCrash says what is wrong with what a crash left.
func (s *story) afterCrash(files map[string][]byte, acks []string, goOn bool) string {
	st, err := open(lay(s.t, files), unsynced{})
	if err != nil {
		return err.Error()
	}
	defer st.Close()
	r, err := repo.Open(s.ctx, st, "write", wholeOptions)
	if err != nil {
		return err.Error()
	}
	stored := map[string]bool{}
	gone := map[string]bool{}
	for _, a := range acks {
		verb, d, _ := strings.Cut(a, " ")
		switch verb {
		case "stored":
			stored[d] = true
			delete(gone, d)
		case "deleting", "undeleting":
			delete(stored, d)
			delete(gone, d)
		case "deleted":
			gone[d] = true
		}
	}
	promised := func() string {
		for d, data := range s.days {
			var out bytes.Buffer
			err := r.Restore(s.ctx, day(d), &out, repo.RestoreOptions{})
			switch {
			case err == nil && gone[d]:
				return d + " restores although it was deleted"
			case err == nil && !bytes.Equal(out.Bytes(), data):
				return d + " restores as other bytes"
			case err != nil && stored[d]:
				return fmt.Sprintf("%s was stored: %v", d, err)
			case err != nil && !errors.Is(err, repo.ErrNoStream) && !errors.Is(err, repo.ErrDeleted):
				return fmt.Sprintf("%s is visible: %v", d, err)
			}
		}
		report, err := r.Check(s.ctx, repo.CheckOptions{Level: repo.CheckData})
		if err != nil || len(report.Damage) > 0 {
			return fmt.Sprintf("check: %v %+v", err, report)
		}
		return ""
	}
	if problem := promised(); problem != "" || !goOn {
		return problem
	}
	after := &story{t: s.t, ctx: s.ctx, r: r, ack: func(string) {}, days: s.days}
	after.write("09", "04", "03", "02")
	stored["09"] = true
	after.collect()
	after.collect()
	if problem := promised(); problem != "" {
		return "after another backup and collection: " + problem
	}
	return ""
}

// collect removes what it can, and merges fragments.
func (s *story) collect() {
	s.t.Helper()
	report, err := s.r.Prune(s.ctx, repo.PruneOptions{RepackSmall: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.removed += report.RemovedPacks
	s.merged += report.MergedFragments
}
