package wal

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// Prefetcher fetches into a spool what a server in recovery will ask for next. There is one
// for a spool, in a process of its own, which no server waits for.
//
// How far it goes ahead is bounded in bytes, and grows from a few segments to that
// while the server keeps asking for the next one. It follows the timelines of the
// newest history that the server got, and asks for each segment on the same ones in the
// same order as the server. What is not there ends a round and is not remembered: the
// next request of the server begins a new one.
//
// It ends when there is nothing ahead and nothing in the spool, or when the server does
// not recover any more, and then removes the spool.
type Prefetcher struct {
	Archive *Archive
	System  SystemID
	DataDir DataDir
	Spool   *Spool
	Limit   int64 // bytes in the spool, at most

	// Idle is how long nobody must have asked for anything before the server is looked
	// at; 0 is a few seconds.
	Idle time.Duration
}

const (
	firstWindow  = 4         // segments
	backWindow   = 4         // segments, for pg_rewind, which goes back to a checkpoint and no further
	inFlight     = 128 << 20 // bytes of segments that are fetched at the same time
	maxParallel  = 8
	settleLater  = 256 // files
	prefetchIdle = 5 * time.Second
)

// Run fetches ahead until there is no need of it. If another process is at it, it
// returns at once.
func (p *Prefetcher) Run(ctx context.Context) error {
	lock, ok := p.Spool.lock()
	if !ok {
		return nil
	}
	defer lock.Close()
	bell, err := p.Spool.openBell()
	if err != nil {
		return err
	}
	defer bell.Close()
	p.Spool.sweep()
	rung := make(chan struct{}, 1)
	go listen(bell, rung)
	r := &prefetch{
		Prefetcher: p, archive: p.Archive.fileByFile(), decoding: turns{free: p.Archive.opener.lanes}, done: make(chan fetched), busy: map[uint64]bool{}, window: firstWindow,
		added: make(chan string, settleLater), put: map[Name]bool{},
	}
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		for file := range r.added {
			settle(file)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer func() { cancel(); r.wait(); close(r.added); <-settled }()
	idle := p.Idle
	if idle == 0 {
		idle = prefetchIdle
	}
	for {
		at, ok := p.Spool.last()
		if !ok {
			return nil
		}
		all, err := p.Spool.list()
		if err != nil {
			return err
		}
		r.moved(at)
		all = p.prune(at, all)
		r.start(ctx, at, all)
		if len(r.busy) == 0 && len(all) == 0 {
			return nil // nothing ahead, and nothing left
		}
		select {
		case f := <-r.done:
			r.finished(f)
		case <-rung:
			r.window *= 2
			r.ended = false // it may have come to be meanwhile
		case <-time.After(idle):
			if len(r.busy) == 0 && !p.DataDir.Recovering() {
				p.Spool.clear()
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// prefetch is what Run is at.
type prefetch struct {
	*Prefetcher
	archive *Archive
	// Reading is waiting, so many are read at once; of those that are there, the ones that
	// the server will ask for first are decoded first.
	decoding turns
	started  uint64
	done     chan fetched
	busy     map[uint64]bool // numbers of segments that are being fetched
	window   int             // segments
	at       request         // what the server asked for last
	put      map[Name]bool   // what was put into the spool of what comes after it
	added    chan string     // files in the spool that are not written through
	ended    bool            // the segment with the number end cannot be had
	end      uint64
}

type fetched struct {
	number uint64
	name   Name
	file   string // "": it cannot be had
}

func (r *prefetch) finished(f fetched) {
	delete(r.busy, f.number)
	if f.file == "" {
		r.ended, r.end = true, f.number
		return
	}
	r.put[f.name] = true
	select {
	case r.added <- f.file:
	default: // the disk is too slow for that: the server waits for it
	}
}

// moved takes note of what the server asked for last.
func (r *prefetch) moved(at request) {
	if at.back || at.name.Position() < r.at.name.Position() {
		clear(r.put)
	}
	for name := range r.put {
		if name.Position() <= at.name.Position() {
			delete(r.put, name)
		}
	}
	r.at = at
}

// taken reports whether the segment is gone because the server has just taken it, and has not
// said so yet.
func (r *prefetch) taken(at request, number uint64, names []Name) bool {
	before, _ := at.name.Number(at.size)
	return number == before+1 && slices.ContainsFunc(names, func(n Name) bool { return r.put[n] })
}

// wait waits for what is being fetched.
func (r *prefetch) wait() {
	for len(r.busy) > 0 {
		r.finished(<-r.done)
	}
}

// start begins to fetch what is missing of the window, in the order of need.
func (r *prefetch) start(ctx context.Context, at request, all []held) {
	r.window = min(r.window, int(max(r.Limit/int64(at.size), 1)))
	parallel := atOnce(at.size)
	used := int64(len(r.busy)) * int64(at.size)
	there := map[Name]bool{}
	for _, h := range all {
		there[h.name] = true
		used += h.size()
	}
	for _, n := range r.wanted(at) {
		if r.ended && n == r.end || len(r.busy) == parallel {
			return
		}
		names := r.candidates(at, n)
		if r.busy[n] || slices.ContainsFunc(names, func(n Name) bool { return there[n] }) {
			continue
		}
		if r.taken(at, n, names) {
			continue
		}
		// The file system may be the server's too.
		if used += int64(at.size); used > max(r.Limit, int64(at.size)) || r.Spool.room() < used+r.Limit {
			return
		}
		// Said before the server can ask for it: a fetch that looks for it then waits.
		_ = r.Spool.announce(names[0])
		r.busy[n] = true
		r.started++
		rank := r.started
		go func() {
			name, file := r.fetch(ctx, names, rank)
			r.done <- fetched{n, name, file}
		}()
	}
}

// atOnce returns how many segments of the size are fetched at the same time.
func atOnce(size uint32) int { return max(1, min(maxParallel, inFlight/int(size))) }

// wanted returns the numbers of the segments in the window, in the order of need.
func (r *prefetch) wanted(at request) []uint64 {
	number, _ := at.name.Number(at.size)
	var wanted []uint64
	for i := range uint64(r.window) {
		switch {
		case !at.back:
			wanted = append(wanted, number+1+i)
		case i < backWindow && i < number:
			wanted = append(wanted, number-1-i)
		}
	}
	return wanted
}

// prune removes what the server has passed, and returns what is left.
func (p *Prefetcher) prune(at request, all []held) []held {
	if at.back {
		return all // it will want that when it turns round
	}
	return slices.DeleteFunc(all, func(h held) bool {
		return h.name.Position() <= at.name.Position() && os.Remove(h.File) == nil
	})
}

// fetch puts the first of names that is there into the spool, and returns it and its file.
// There is no file if none can be had.
func (r *prefetch) fetch(ctx context.Context, names []Name, rank uint64) (Name, string) {
	for i, name := range names {
		if i > 0 && r.Spool.announce(name) != nil {
			break
		}
		file := ""
		object, err := r.archive.object(ctx, r.System, name)
		if err == nil {
			file, err = r.Spool.add(name, func(w io.Writer) (digest.ID, error) {
				r.decoding.take(rank)
				defer r.decoding.giveBack()
				info, err := r.archive.send(r.System, name, object, w)
				if err != nil {
					return digest.ID{}, err
				}
				return info.Hash, nil
			})
		}
		if err == nil {
			return name, file
		}
		r.Spool.retract(name)
		if !errors.Is(err, ErrAbsent) {
			break // the server, when it asks, is told why
		}
	}
	return Name{}, ""
}

// candidates returns what the server will ask for as the segment with the number, in
// that order: on the newest timeline that has come to be by then, and, if it is not
// there, on its ancestors, but never on one older than it has got to.
func (p *Prefetcher) candidates(at request, number uint64) []Name {
	on := func(timeline uint32) Name { return SegmentName(timeline, number, at.size) }
	timeline, ancestors, ok := p.Spool.target()
	known := ok && timeline == at.name.Timeline
	for _, b := range ancestors {
		known = known || b.Timeline == at.name.Timeline
	}
	if !known {
		return []Name{on(at.name.Timeline)}
	}
	var names []Name
	for i := len(ancestors); i >= 0; i-- {
		t, begin, last := timeline, uint64(0), uint64(math.MaxUint64)
		if i < len(ancestors) { // behind that a server may have gone on that nobody follows
			t, last = ancestors[i].Timeline, uint64(ancestors[i].End)/uint64(at.size)
		}
		if i > 0 { // it begins where the one before it ends
			begin = uint64(ancestors[i-1].End) / uint64(at.size)
		}
		if number >= begin && number <= last && (t >= at.name.Timeline || at.back) {
			names = append(names, on(t))
		}
	}
	if len(names) == 0 {
		return []Name{on(at.name.Timeline)}
	}
	return names
}

// sweep removes what a process left behind that was killed.
func (s *Spool) sweep() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		const segmentPart = 24 + len(quick.PartSuffix)
		if name := e.Name(); len(name) == segmentPart && name[24:] == quick.PartSuffix {
			_ = os.Remove(s.path(name)) // overwritten otherwise
		}
	}
}
