package wal

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
)

// backlog is a server's directory with segments that are ready, and a Pusher for them that
// pushes ahead within the call.
type backlog struct {
	*world
	dir string
	p   *Pusher
}

func newBacklog(t *testing.T, files int) *backlog {
	w := newWorld(t, false)
	b := &backlog{world: w, dir: filepath.Join(t.TempDir(), "pg_wal")}
	w.must(os.MkdirAll(filepath.Join(b.dir, "archive_status"), 0o700))
	for i := range files {
		w.must(os.WriteFile(b.path(i), segment(testSystem, mustName(t, filepath.Base(b.path(i))), MinSegmentSize, 1), 0o600))
		w.must(os.WriteFile(b.ready(i), nil, 0o600))
	}
	b.p = &Pusher{
		Namespace: "main", Content: DefaultContent, Records: filepath.Join(t.TempDir(), "records"), Packer: w.pack, Storage: w.st,
		Open: func(context.Context) (*repo.Repo, error) { return w.repo, nil },
	}
	return b
}

func (b *backlog) path(n int) string {
	name := Name{Kind: Segment, Timeline: 1, Seg: uint32(n)}
	return filepath.Join(b.dir, name.String())
}

func (b *backlog) ready(n int) string {
	return filepath.Join(b.dir, "archive_status", filepath.Base(b.path(n))+readySuffix)
}

// push pushes the file, and expects so many files in the archive then.
func (b *backlog) push(n, want int) {
	b.Helper()
	b.must(b.p.Push(b.Context(), b.path(n)))
	if got := b.stored(); got != want {
		b.Errorf("after file %d: %d files are in the archive, want %d", n, got, want)
	}
}

func (b *backlog) stored() (files int) {
	b.Helper()
	for n := range 1000 {
		if _, err := b.a.Stat(b.Context(), testSystem, mustName(b, filepath.Base(b.path(n)))); err == nil {
			files++
		} else if !errors.Is(err, storage.ErrNotExist) && !errors.Is(err, ErrAbsent) {
			b.Fatal(err)
		}
	}
	return files
}

// TestAheadOfNobody: however often it is tried, no more is pushed ahead than may be, as long as the
// server does not ask for what was.
func TestAheadOfNobody(t *testing.T) {
	t.Parallel()
	b := newBacklog(t, 3*aheadFiles)
	for range 3 {
		b.push(0, 1+aheadFiles)
	}
	b.must(os.Rename(b.ready(0), strings.TrimSuffix(b.ready(0), readySuffix)+".done"))
	b.push(1, 1+aheadFiles) // there is a record of it: nothing is begun
	b.must(os.Rename(b.ready(1), strings.TrimSuffix(b.ready(1), readySuffix)+".done"))
	b.push(3*aheadFiles-1, 2+aheadFiles+1) // after 64 that wait there is room for one
}

// TestAheadWithoutRecords: where no records can be made, little is pushed ahead, for all of it
// is packed once more.
func TestAheadWithoutRecords(t *testing.T) {
	t.Parallel()
	b := newBacklog(t, aheadFiles)
	b.p.Storage = &forgetful{Storage: b.st, dir: b.p.Records}
	b.must(b.p.Push(t.Context(), b.path(0)))
	if n := b.stored(); n > 1+aheadAtOnce+1 {
		t.Errorf("%d files are in the archive", n)
	}
}

// forgetful loses a directory whenever something is put into it.
type forgetful struct {
	storage.Storage
	dir string
}

func (f *forgetful) Put(ctx context.Context, key string, data []byte) error {
	return errors.Join(f.Storage.Put(ctx, key, data), os.RemoveAll(f.dir))
}

// TestAheadWithoutClaims: on a file system without locks no process is started, for each call would
// start another one.
func TestAheadWithoutClaims(t *testing.T) {
	t.Parallel()
	b := newBacklog(t, 4)
	b.p.StartAhead = func() (io.WriteCloser, error) {
		t.Error("a process is started")
		return nil, errors.New("no")
	}
	s, err := b.p.newSession(b.path(0))
	b.must(err)
	b.must(os.Mkdir(s.records.dir+".claims", 0o700)) // cannot be opened for locks
	b.push(0, 4)
	b.must(b.p.PushAhead(t.Context(), b.path(0), nil)) // has nothing to do, and does not wait
}

// TestAheadAtOnce: how many are pushed at once grows while that is fast, and is reduced when it is not.
func TestAheadAtOnce(t *testing.T) {
	t.Parallel()
	a := &pusherAhead{atOnce: 1}
	fill := func(size int64) (all []*aheadOne) {
		for a.room(size) {
			one := &aheadOne{size: size}
			a.enter(one)
			all = append(all, one)
		}
		return all
	}
	round := func(want int, size int64, took time.Duration) {
		t.Helper()
		all := fill(size)
		if len(all) != want {
			t.Errorf("%d are under way at once, want %d", len(all), want)
		}
		for _, one := range all {
			a.leave(one, time.Now().Add(-took))
		}
	}
	round(1, 16<<20, 0)
	round(2, 16<<20, 0)
	round(4, 16<<20, 0)
	round(8, 16<<20, 0)
	round(8, 24, 0)
	round(4, 64<<20, 0) // 256 MiB, whatever came first
	round(1, 1<<30, aheadSlow)
	round(4, 16<<20, aheadSlow)
	round(1, 16<<20, aheadSlow)
	round(1, 16<<20, 0)
	round(2, 16<<20, 0)
}

// TestAheadAfterCall: the process begins when the call that started it says that its file is there, and not at
// all if it does not.
func TestAheadAfterCall(t *testing.T) {
	t.Parallel()
	b := newBacklog(t, 4)
	b.must(b.p.PushAhead(t.Context(), b.path(0), strings.NewReader("")))
	if n := b.stored(); n != 0 {
		t.Errorf("nothing is said: %d files are in the archive", n)
	}
	b.must(b.p.PushAhead(t.Context(), b.path(0), strings.NewReader("\n")))
	if n := b.stored(); n != 3 {
		t.Errorf("%d files are in the archive", n)
	}
}

// TestAheadOfRefused: a call whose file is refused has nothing pushed ahead.
func TestAheadOfRefused(t *testing.T) {
	t.Parallel()
	b := newBacklog(t, 4)
	b.must(b.put(testSystem, filepath.Base(b.path(0)), segment(testSystem, mustName(t, filepath.Base(b.path(0))), MinSegmentSize, 2)))
	var beside sync.WaitGroup
	b.p.StartAhead = func() (io.WriteCloser, error) {
		read, write := io.Pipe()
		beside.Go(func() { b.must(b.p.PushAhead(t.Context(), b.path(0), read)) })
		return write, nil
	}
	if err := b.p.Push(t.Context(), b.path(0)); err == nil {
		t.Error("other content is not refused")
	}
	beside.Wait()
	if n := b.stored(); n != 1 {
		t.Errorf("%d files are in the archive", n)
	}
}
