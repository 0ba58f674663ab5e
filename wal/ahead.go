package wal

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A server asks for one file at a time, and what takes long is packing it and waiting for
// the storage. So the files that it has marked as ready are pushed before it asks for them,
// several at a time, and a record of each is left for the call that is made for it. That is
// the work of a process beside the server's calls, which it starts when there is more than
// one file to be pushed, and of which there is one for an archive.
//
// It never gets far ahead of the server, and soon ends when that asks for no more: files of
// a server that was stopped may be about to be changed by somebody. Nor does it store anything before the
// call that started it has stored its own file: a server that has got no right to the archive
// any more, because another one goes on in its place, does not get past its first file.
const (
	aheadLeast  = 2               // files that wait, below which a process is not worth while
	aheadFiles  = 64              // that the server has not asked for yet
	aheadBytes  = 1 << 30         // likewise
	aheadMemory = 256 << 20       // of files that are under way at once, in bytes
	aheadTime   = 5 * time.Second // after which none is begun, unless the server asked for one meanwhile
	aheadAtOnce = 8
	aheadPoll   = 5 * time.Millisecond
)

// PushAhead is the process beside the calls. path is the file of the call that started it,
// which is left to that, and pipe is where that says that the file is there.
func (p *Pusher) PushAhead(ctx context.Context, path string, pipe io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := p.newSession(path)
	if err != nil || s.records == nil {
		return err
	}
	s.records.openClaims()
	defer s.records.claims.close()
	if !s.records.claims.take(aheadClaim) { // there is one
		return nil
	}
	go func() { s.opened <- s.open(ctx) }()
	if err := s.readControl(); err != nil {
		return err
	}
	if p.Recorded != nil {
		p.Recorded(s.records.dir)
	}
	go func() {
		_, err := io.ReadFull(pipe, make([]byte, 1))
		if err != nil {
			cancel() // the file is not there
		}
		s.mayPut <- err
	}()
	s.ahead(ctx, true)
	return nil
}

// starting is what became of starting the process.
type starting struct {
	pipe   io.WriteCloser // nil: none was started
	needed bool           // there is none, though files wait for it
}

// startAhead starts the process if files wait.
func (s *session) startAhead(ctx context.Context) (to starting) {
	if s.records == nil || s.waitOpen(ctx) != nil {
		return starting{}
	}
	waiting := 0
	for _, name := range s.ready() {
		if !s.records.known(name) {
			waiting++
		}
	}
	if waiting < aheadLeast || s.records.claims.taken(aheadClaim) {
		return starting{}
	}
	if s.StartAhead == nil {
		return starting{needed: true}
	}
	pipe, err := s.StartAhead()
	return starting{pipe, err != nil}
}

// ready lists the files that the server wants archived but the session's own, in the order in which it
// will ask for them: histories first, then by name.
func (s *session) ready() []Name {
	f, err := os.Open(filepath.Join(s.records.wal, "archive_status"))
	if err != nil {
		return nil // a missing one is normal: somebody pushes files by hand
	}
	defer f.Close()
	entries, err := f.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var names []Name
	for _, e := range entries {
		file, ready := strings.CutSuffix(e, readySuffix)
		if name, err := ParseName(file); ready && err == nil && name != s.name {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b Name) int {
		if (a.Kind == History) != (b.Kind == History) {
			if a.Kind == History {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.String(), b.String())
	})
	return names
}

const readySuffix = ".ready"

// wanted reports whether the server still wants the file archived.
func (r *records) wanted(name Name) bool {
	_, err := os.Stat(filepath.Join(r.wal, "archive_status", name.String()+readySuffix))
	return err == nil
}

// pusherAhead is what pushes ahead.
type pusherAhead struct {
	*session
	beside bool          // the server's calls, which go on meanwhile
	mine   map[Name]bool // what was begun
	begun  []*aheadOne   // of that what the server is not known to have asked for, in the order in which it will
	bytes  int64         // of those
	moved  time.Time     // when it was last seen to have asked for one
	failed atomic.Bool   // one of them did: no more are begun
}

// aheadOne is a file that is pushed ahead.
type aheadOne struct {
	name Name
	size int64
	done atomic.Bool
}

// ahead pushes what the server will ask for next. After the first failure it begins no more:
// that is for the call to report that is made for the file, and files behind a hole are of no
// use before it is closed.
func (s *session) ahead(ctx context.Context, beside bool) {
	a := &pusherAhead{session: s, beside: beside, mine: map[Name]bool{}, moved: time.Now()}
	var g errgroup.Group
	defer func() { _ = g.Wait() }()
	ready := s.ready()
	s.records.tidy(append(ready, s.name)) // once, before there are any that are just being made
	for ; ; ready = s.ready() {
		found := false
		for _, name := range ready {
			if a.mine[name] || s.records.known(name) || !s.records.wanted(name) {
				continue
			}
			info, err := os.Stat(filepath.Join(s.records.wal, name.String()))
			if err != nil || !a.mayBegin(ctx, info.Size()) {
				return
			}
			if len(a.mine) == 0 {
				g.SetLimit(max(1, min(aheadAtOnce, int(aheadMemory/max(info.Size(), 1)))))
			}
			a.mine[name], found = true, true
			if s.records.claims.take(byteOf(name)) {
				one := &aheadOne{name: name, size: info.Size()}
				a.begun = append(a.begun, one)
				a.bytes += one.size
				g.Go(func() error { a.pushOne(ctx, one); return nil })
			}
		}
		if !found || !beside { // all is done; a call for what comes now begins anew
			return
		}
	}
}

// pushOne pushes a file that was claimed.
func (a *pusherAhead) pushOne(ctx context.Context, one *aheadOne) {
	defer a.records.claims.giveBack(byteOf(one.name))
	ctx, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	what, err := a.push(ctx, Source{Name: one.name, Path: filepath.Join(a.records.wal, one.name.String()), Ahead: true})
	if err != nil {
		a.failed.Store(true)
		return
	}
	a.records.note(one.name, what)
	one.done.Store(true)
}

// mayBegin reports whether to begin with a file of size bytes, and waits for the server if it is
// far behind.
func (a *pusherAhead) mayBegin(ctx context.Context, size int64) bool {
	for {
		for len(a.begun) > 0 && a.begun[0].done.Load() && !a.records.known(a.begun[0].name) {
			a.bytes -= a.begun[0].size
			a.begun = a.begun[1:]
			a.moved = time.Now()
		}
		if a.failed.Load() || time.Since(a.moved) > aheadTime || ctx.Err() != nil {
			return false
		}
		if len(a.begun) < aheadFiles && (a.bytes+size <= aheadBytes || len(a.begun) == 0) {
			return true
		}
		if !a.beside {
			return false
		}
		time.Sleep(aheadPoll)
	}
}
