package local

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// disk follows what processes do to a directory and keeps account of what would
// survive if the machine stopped: of a file the bytes written before its last
// sync, of a directory the entries it had at its last sync, and nothing else. That
// is the least that POSIX promises; real file systems keep more.
type disk struct {
	mu   sync.Mutex
	t    testing.TB
	root *node
}

type node struct {
	dir             bool
	written, synced int              // bytes of a file
	entries         map[string]*node // of a directory
	durable         map[string]*node // the entries at its last sync
}

func newDisk(t testing.TB) *disk { return &disk{t: t, root: newDir()} }

func newDir() *node { return &node{dir: true, entries: map[string]*node{}} }

// at finds a name, or nil. Names are relative to the root: the tests never look
// from anywhere else.
func (d *disk) at(name string) *node {
	n := d.root
	if name == "." {
		return n
	}
	if above := d.at(path.Dir(name)); above != nil {
		return above.entries[path.Base(name)]
	}
	return nil
}

// survivor returns the file that a crash would leave under the name, or nil.
func (d *disk) survivor(name string) *node {
	if name == "." {
		return d.root
	}
	if above := d.survivor(path.Dir(name)); above != nil {
		return above.durable[path.Base(name)]
	}
	return nil
}

// process is a process's way to the disk. Call number failAt fails with err; if
// dead is set, so does every later one: the process was killed there.
type process struct {
	*disk
	system
	calls, failAt int
	err           error
	dead          bool
	fds           map[int]*node
}

func (d *disk) process(failAt int, err error, dead bool) *process {
	return &process{disk: d, system: unixSystem{}, failAt: failAt, err: err, dead: dead, fds: map[int]*node{}}
}

// step makes one call and, if it succeeds, notes its effect.
func (p *process) step(call func() error, note func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.calls == p.failAt || p.dead && p.failAt > 0 && p.calls > p.failAt {
		return p.err
	}
	err := call()
	if err == nil && note != nil {
		note()
	}
	return err
}

func (p *process) open(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = p.step(func() error { fd, err = p.system.open(dir, name, flags, mode); return err }, func() {
		if flags&unix.O_CREAT != 0 {
			p.at(path.Dir(name)).entries[path.Base(name)] = &node{}
		}
		p.fds[fd] = p.at(name)
	})
	return fd, err
}

func (p *process) close(fd int) error {
	err := p.step(func() error { return nil }, nil)
	_ = p.system.close(fd) // even if it fails: descriptors are not to leak
	return err
}

func (p *process) chmod(fd int, mode uint32) error {
	return p.step(func() error { return p.system.chmod(fd, mode) }, nil)
}

// write writes in small pieces, as any system may.
func (p *process) write(fd int, b []byte) (n int, err error) {
	err = p.step(func() error { n, err = p.system.write(fd, b[:min(len(b), 700)]); return err },
		func() { p.fds[fd].written += n })
	return n, err
}

func (p *process) sync(fd int) error {
	return p.step(func() error { return nil }, func() { // no need to trouble the real disk
		n := p.fds[fd]
		n.synced = n.written
		n.durable = maps.Clone(n.entries)
	})
}

// name is how a file gets its final name: at this moment its bytes must be safe,
// because whatever becomes durable from here on, the name may.
func (p *process) name(from, to string) {
	n := p.at(from)
	if n.synced != n.written {
		p.t.Errorf("%s became visible with %d of %d bytes synced", to, n.synced, n.written)
	}
	p.at(path.Dir(to)).entries[path.Base(to)] = n
}

func (p *process) link(dir int, from, to string) error {
	return p.step(func() error { return p.system.link(dir, from, to) }, func() { p.name(from, to) })
}

func (p *process) rename(dir int, from, to string) error {
	return p.step(func() error { return p.system.rename(dir, from, to) }, func() {
		p.name(from, to)
		delete(p.at(path.Dir(from)).entries, path.Base(from))
	})
}

func (p *process) unlink(dir int, name string) error {
	return p.step(func() error { return p.system.unlink(dir, name) },
		func() { delete(p.at(path.Dir(name)).entries, path.Base(name)) })
}

func (p *process) mkdir(dir int, name string, mode uint32) error {
	return p.step(func() error { return p.system.mkdir(dir, name, mode) },
		func() { p.at(path.Dir(name)).entries[path.Base(name)] = newDir() })
}

func (p *process) chmodDir(dir int, name string, mode uint32) error {
	return p.step(func() error { return p.system.chmodDir(dir, name, mode) }, nil)
}

// wantDurable checks that a crash now would leave the object whole.
func (d *disk) wantDurable(key string, size int) {
	d.t.Helper()
	if n := d.survivor(key); n == nil || n.synced != size {
		d.t.Errorf("%s was acknowledged, but a crash would lose it", key)
	}
}

// as opens the store's directory as another process would.
func (s *Store) as(t testing.TB, p *process) *Store {
	t.Helper()
	calls := p.failAt
	p.failAt = 0 // opening is not what is tested
	other, err := open(s.path, p)
	if err != nil {
		t.Fatal(err)
	}
	p.calls, p.failAt = 0, calls
	other.noLink.Store(s.noLink.Load())
	t.Cleanup(func() { _ = other.Close() })
	return other
}

// withLinkAndRename runs a test with either way to give a file its name.
func withLinkAndRename(t *testing.T, test func(t *testing.T, noLink bool)) {
	t.Run("Link", func(t *testing.T) { test(t, false) })
	t.Run("Rename", func(t *testing.T) { test(t, true) })
}

// TestPutKilledAtEachCall kills a process at each of its calls in turn. Whatever
// it got done, another process then stores the same object and a second one beside
// it, in directories that the first may have made but not synced.
func TestPutKilledAtEachCall(t *testing.T) {
	withLinkAndRename(t, func(t *testing.T, noLink bool) {
		data := bytes.Repeat([]byte("gpdedup "), 300)
		killed := errors.New("killed")
		for k, finished := 1, false; !finished; k++ {
			d := newDisk(t)
			s := newStoreOn(t, d.process(0, nil, false))
			s.noLink.Store(noLink)
			victim := d.process(k, killed, true)
			err := s.as(t, victim).Put(t.Context(), "packs/ab/one", data)
			if err == nil {
				d.wantDurable("packs/ab/one", len(data))
			} else if !errors.Is(err, killed) {
				t.Fatalf("killed at call %d: %v", k, err)
			}
			finished = victim.calls < k

			other := s.as(t, d.process(0, nil, false))
			mustPut(t, other, "packs/ab/two", data)
			d.wantDurable("packs/ab/two", len(data))
			mustPut(t, other, "packs/ab/one", data)
			d.wantDurable("packs/ab/one", len(data))
		}
	})
}

// TestPutFailsAtEachCall lets one call fail at a time. Then the error says what it
// was, the object is there whole or not at all, no temporary is left, and the same
// process's next try succeeds.
func TestPutFailsAtEachCall(t *testing.T) {
	data := bytes.Repeat([]byte("gpdedup "), 300)
	for errno, want := range map[error]error{
		unix.EIO: unix.EIO, unix.ENOSPC: storage.ErrNoSpace, unix.EDQUOT: storage.ErrNoSpace,
		unix.EROFS: storage.ErrReadOnly, unix.EACCES: storage.ErrReadOnly, unix.ESTALE: nil,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			withLinkAndRename(t, func(t *testing.T, noLink bool) {
				for k, finished := 1, false; !finished; k++ {
					d := newDisk(t)
					s := newStoreOn(t, d.process(0, nil, false))
					s.noLink.Store(noLink)
					p := d.process(k, errno, false)
					victim := s.as(t, p)
					err := victim.Put(t.Context(), "packs/ab/one", data)
					if err == nil {
						d.wantDurable("packs/ab/one", len(data))
					} else if want == nil || !errors.Is(err, want) {
						t.Fatalf("call %d failed: put says %v, want %v", k, err, want)
					}
					finished = p.calls < k
					if n := len(temporaries(t, s)); n > 0 && err != nil {
						t.Errorf("call %d failed: %d temporaries are left", k, n)
					}
					got, gerr := s.Get(t.Context(), "packs/ab/one", -1)
					if gerr == nil && !bytes.Equal(got, data) || gerr != nil && !errors.Is(gerr, storage.ErrNotExist) {
						t.Fatalf("call %d failed: get says %v, %d bytes", k, gerr, len(got))
					}
					p.failAt = 0
					mustPut(t, victim, "packs/ab/one", data)
					d.wantDurable("packs/ab/one", len(data))
				}
			})
		})
	}
}

// TestPutOfWhatOthersLeft: an object that somebody else wrote, and did not sync, is
// acknowledged only when it is durable.
func TestPutOfWhatOthersLeft(t *testing.T) {
	d := newDisk(t)
	s := newStoreOn(t, d.process(0, nil, false))
	mustPut(t, s, "a/b", []byte("x"))
	data := []byte("copied here by hand")
	if err := os.WriteFile(filepath.Join(s.path, "a", "c"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	d.at("a").entries["c"] = &node{written: len(data)}
	mustPut(t, s, "a/c", data)
	d.wantDurable("a/c", len(data))
}

// TestDirectoryRemoved: somebody tidies up an empty directory that the store
// remembers as durable.
func TestDirectoryRemoved(t *testing.T) {
	d := newDisk(t)
	s := newStoreOn(t, d.process(0, nil, false))
	mustPut(t, s, "a/b/c", []byte("x"))
	if err := os.RemoveAll(filepath.Join(s.path, "a")); err != nil {
		t.Fatal(err)
	}
	delete(d.root.entries, "a")
	delete(d.root.durable, "a")
	mustPut(t, s, "a/b/d", []byte("y"))
	d.wantDurable("a/b/d", 1)
	wantNoTemporaries(t, s)
}

// TestDeleteKilledAtEachCall: a removal that was acknowledged survives, above all
// when the call that removed the file did not live to sync the directory.
func TestDeleteKilledAtEachCall(t *testing.T) {
	killed := errors.New("killed")
	for k, finished := 1, false; !finished; k++ {
		d := newDisk(t)
		s := newStoreOn(t, d.process(0, nil, false))
		mustPut(t, s, "a/b", []byte("x"))
		victim := d.process(k, killed, true)
		if err := s.as(t, victim).Delete(t.Context(), "a/b"); err == nil && d.survivor("a/b") != nil {
			t.Error("a removal was acknowledged, but a crash would undo it")
		}
		finished = victim.calls < k
		if err := s.as(t, d.process(0, nil, false)).Delete(t.Context(), "a/b"); err != nil {
			t.Fatal(err)
		}
		if d.survivor("a/b") != nil {
			t.Error("a repeated removal was acknowledged, but a crash would undo it")
		}
	}
}

// TestPutCancelledAtEachCall ends the context at each call in turn: unless the
// object was visible before, it never is.
func TestPutCancelledAtEachCall(t *testing.T) {
	for k, finished := 1, false; !finished; k++ {
		d := newDisk(t)
		s := newStoreOn(t, d.process(0, nil, false))
		ctx, cancel := context.WithCancel(t.Context())
		p := d.process(0, nil, false)
		c := &canceller{process: p, left: k, cancel: cancel}
		victim := s.as(t, p)
		victim.sys = c
		err := victim.Put(ctx, "a/b", []byte("x"))
		finished = c.left > 0
		cancel()
		if visible := d.at("a/b") != nil; visible && !c.linked {
			t.Error("the object became visible after the context had ended")
		} else if visible != (err == nil) {
			t.Errorf("visible: %v, put says %v", visible, err)
		}
		wantNoTemporaries(t, s)
	}
}

// canceller ends a context when the call before one that could make an object
// visible, or prepare that, has returned.
type canceller struct {
	*process
	left   int // calls until then
	cancel func()
	linked bool // the link came first
}

func (c *canceller) count() {
	if c.left--; c.left == 0 {
		c.cancel()
	}
}

func (c *canceller) open(dir int, name string, flags int, mode uint32) (int, error) {
	defer c.count()
	return c.process.open(dir, name, flags, mode)
}

func (c *canceller) sync(fd int) error { defer c.count(); return c.process.sync(fd) }

func (c *canceller) mkdir(dir int, name string, mode uint32) error {
	defer c.count()
	return c.process.mkdir(dir, name, mode)
}

func (c *canceller) link(dir int, from, to string) error {
	c.linked = c.left > 0
	defer c.count()
	return c.process.link(dir, from, to)
}

// TestPrepare: the directories survive a crash, and a Put of the key is left with its own.
func TestPrepare(t *testing.T) {
	d := newDisk(t)
	p := d.process(0, nil, false)
	s := newStoreOn(t, p)
	if err := s.Prepare(t.Context(), "a/b/c/d"); err != nil {
		t.Fatal(err)
	}
	if d.survivor("a/b/c") == nil {
		t.Error("a crash would lose the directories")
	}
	before := p.calls
	mustPut(t, s, "a/b/c/d", []byte("x"))
	d.wantDurable("a/b/c/d", 1)
	prepared := p.calls - before
	other := d.process(0, nil, false)
	mustPut(t, s.as(t, other), "a/b/c/e", []byte("x"))
	if prepared >= other.calls {
		t.Errorf("%d calls after it, %d without", prepared, other.calls)
	}
}
