package wal

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A server asks for one file at a time, and what takes long is packing it and waiting for
// the storage. So the files that it has marked as ready are pushed before it asks for them,
// several at a time, and a record of each is left for the call that is made for it. That is
// the work of a process beside the server's calls, which it starts when there is more than
// one file to be pushed, and of which there is one for an archive.
//
// It never gets far ahead of the server, and soon ends when that asks for no more: files of
// a server that was stopped may be about to be changed by somebody. Nor does it begin before the
// call that started it has stored its own file: a server that has no right to the archive
// any more, because another one goes on in its place, does not get past its first file; and where
// the way to the storage is narrow, the call would have to wait for longer than it may.
const (
	aheadLeast  = 2               // files that wait, below which a process is not worth while
	aheadFiles  = 64              // that the server has not asked for yet
	aheadBytes  = 1 << 30         // likewise
	aheadMemory = 256 << 20       // of files that are under way at once, in bytes
	aheadTime   = 5 * time.Second // after which none is begun, unless the server asked for one meanwhile
	aheadAtOnce = 8               // at most: it begins with one, and takes another for each that was fast enough
	aheadSlow   = 5 * time.Second // for which a push is too slow for that; twice as long is still within RequestLimit
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
	if !s.records.claims.work() || !s.records.claims.take(aheadClaim) { // there is one
		return nil
	}
	go func() { s.opened <- s.open(ctx) }()
	if err := s.readControl(); err != nil {
		return err
	}
	if p.Recorded != nil {
		p.Recorded(s.records.dir)
	}
	if _, err := io.ReadFull(pipe, make([]byte, 1)); err != nil {
		return nil // the file is not there, as the call has said
	}
	s.ahead(ctx, true)
	return nil
}

// starting is what became of starting the process.
type starting struct {
	pipe   io.WriteCloser // nil: none was started
	needed bool           // there is none, and this one is to do its work
}

// startAhead starts the process if files wait.
func (s *session) startAhead(ctx context.Context) starting {
	if s.records == nil || s.waitOpen(ctx) != nil || s.records.claims.taken(aheadClaim) {
		return starting{}
	}
	waiting := 0
	for _, name := range s.ready() {
		if !s.records.known(name) {
			if waiting++; waiting == aheadLeast { // there may be very many
				break
			}
		}
	}
	switch {
	case waiting < aheadLeast:
		return starting{}
	case !s.records.canBeMade(): // all would be done again
		return starting{}
	case s.StartAhead == nil || !s.records.claims.work(): // without claims, each call would start one
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
	mine   map[Name]bool // what was begun, by this process or one before
	begun  []*aheadOne   // of that what the server is not known to have asked for, in the order in which it will
	bytes  int64         // of those
	moved  time.Time     // when it was last seen to have asked for one, or could not
	failed atomic.Bool   // one of them did: no more are begun

	running sync.WaitGroup
	left    chan struct{} // there may be room for another one

	mu            sync.Mutex // guards the following
	atOnce        int        // how many may be under way
	underWay      int
	underWayBytes int64
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
	a := &pusherAhead{session: s, beside: beside, mine: map[Name]bool{}, moved: time.Now(), left: make(chan struct{}, 1), atOnce: 1}
	defer a.running.Wait()
	ready := s.ready()
	s.records.tidy(append(ready, s.name)) // once, before there are any that are just being made
	for ; ; ready = s.ready() {
		found := false
		for _, name := range ready {
			if a.mine[name] || !s.records.wanted(name) {
				continue
			}
			info, err := os.Stat(filepath.Join(s.records.wal, name.String()))
			if err == nil && s.records.known(name) { // by a process before this one: it counts, too
				a.add(name, info.Size()).done.Store(true)
				continue
			}
			if err != nil || !a.mayBegin(ctx, info.Size()) {
				return
			}
			a.mine[name], found = true, true
			if s.records.claims.take(byteOf(name)) {
				one := a.add(name, info.Size())
				a.enter(one)
				a.running.Go(func() { a.pushOne(ctx, one) })
			}
		}
		if !found || !beside { // all is done; a call for what comes now begins anew
			return
		}
	}
}

// add notes that the server is going to ask for a file that is in the archive then.
func (a *pusherAhead) add(name Name, size int64) *aheadOne {
	one := &aheadOne{name: name, size: size}
	a.mine[name] = true
	a.begun = append(a.begun, one)
	a.bytes += size
	return one
}

// pushOne pushes a file that was claimed.
func (a *pusherAhead) pushOne(ctx context.Context, one *aheadOne) {
	defer a.records.claims.giveBack(byteOf(one.name))
	defer a.leave(one, time.Now())
	ctx, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	what, err := a.push(ctx, Source{Name: one.name, Path: filepath.Join(a.records.wal, one.name.String()), Ahead: true})
	if err != nil || a.records.note(one.name, what) != nil { // without a record the call packs it once more
		a.failed.Store(true)
		return
	}
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
		if a.beside && len(a.begun) > 0 && !a.begun[0].done.Load() {
			a.moved = time.Now() // its call waits for us
		}
		if a.failed.Load() || time.Since(a.moved) > aheadTime || ctx.Err() != nil {
			return false
		}
		far := len(a.begun) >= aheadFiles || a.bytes+size > aheadBytes && len(a.begun) > 0
		if far && !a.beside {
			return false
		}
		if !far && a.room(size) {
			return true
		}
		select {
		case <-a.left:
		case <-time.After(aheadPoll): // for the server
		}
	}
}

// room reports whether there is room for a file of size bytes beside those that are under way.
func (a *pusherAhead) room(size int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.underWay == 0 || a.underWay < a.atOnce && a.underWayBytes+size <= aheadMemory
}

func (a *pusherAhead) enter(one *aheadOne) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.underWay++
	a.underWayBytes += one.size
}

// leave notes that a push that began then has ended. Where many at once take too long, all of them
// would run into the limits of time, and nothing at all be stored.
func (a *pusherAhead) leave(one *aheadOne, began time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.underWay--
	a.underWayBytes -= one.size
	if time.Since(began) < aheadSlow {
		a.atOnce = min(a.atOnce+1, aheadAtOnce)
	} else {
		a.atOnce = max(a.atOnce/2, 1)
	}
	select {
	case a.left <- struct{}{}:
	default:
	}
}
