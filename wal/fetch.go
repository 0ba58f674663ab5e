package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/target"
)

// DefaultPatience is how long a fetch tries before it gives up on what may pass.
const DefaultPatience = time.Minute

// leastTry is how long a try may take at least, and at most for a standby, which could
// stream from its primary instead of waiting for a storage that does not answer.
const leastTry = 15 * time.Second

// Fetch is one call of restore_command: the file File of the archive is to appear as
// Dest. Nothing of it is used twice.
type Fetch struct {
	File, Dest string
	Patience   time.Duration
	PGData     string // the server's data directory; empty: the one that Dest lies in

	// Open opens the archive, of which the file will be asked for first. The system is 0 if
	// it is not known. It is called once for each try, and not at all when the file is in the
	// spool.
	Open func(ctx context.Context, system SystemID, name Name) (*Archive, io.Closer, error)

	// OpenSpool opens the spool for the server, or says why there is none.
	// StartPrefetch starts the process that fetches ahead into it. Both may be nil.
	OpenSpool     func(system SystemID, d DataDir) (*Spool, error)
	StartPrefetch func() error

	name    Name
	dataDir DataDir
	standby bool
	system  SystemID // 0: whichever there is
	durable bool
	spool   *Spool // nil: none
}

// Run fetches the file. An error that is an *EndError says that the file is not in the
// archive and that the archive may end there; FetchExit has a code for every other.
//
// What may pass is tried again until the patience is used up: a repository that is out of
// reach, and a hole, for it may be that the file is just being pushed while those
// after it are there already. A standby asks again itself, and may have other sources,
// so there is one try for it.
func (f *Fetch) Run(ctx context.Context) error {
	if err := f.prepare(); err != nil {
		return err
	}
	if done, err := f.fromSpool(ctx); done || err != nil {
		return err
	}
	deadline := time.Now().Add(f.Patience)
	const first, longest = 200 * time.Millisecond, 5 * time.Second
	damaged := false
	for pause := first; ; pause = min(2*pause, longest) {
		limit := leastTry
		if left := time.Until(deadline); left > limit && !f.standby {
			limit = left
		}
		err := f.try(ctx, limit)
		switch {
		case err == nil || ctx.Err() != nil || f.standby:
			return err
		case errors.Is(err, repo.ErrDamaged) && !damaged:
			damaged = true // on the way perhaps: it is read once more
			continue
		case !mayPass(err):
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("%w (tried for %s)", err, f.Patience)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(min(pause, left)):
		}
	}
}

// mayPass reports whether another try may end otherwise.
func mayPass(err error) bool {
	var end *EndError
	for _, final := range []error{
		repo.ErrUsage, repo.ErrWrongKey, repo.ErrNewer, repo.ErrDamaged, target.ErrLocation, ErrForeign, errFinal,
	} {
		if errors.Is(err, final) {
			return false
		}
	}
	return !errors.As(err, &end)
}

// errFinal marks errors of which no other mark says that they will not pass.
var errFinal = errors.New("final")

type finalError struct{ error }

func (e finalError) Unwrap() error        { return e.error }
func (e finalError) Is(target error) bool { return target == errFinal }

// prepare learns what is asked for, and by whom.
func (f *Fetch) prepare() error {
	var err error
	if f.name, err = ParseName(f.File); err != nil {
		return err
	}
	if err := checkDest(f.Dest); err != nil {
		return err
	}
	if f.dataDir, err = DataDirFor(f.Dest, f.PGData); err != nil {
		return err
	}
	f.standby = f.dataDir.Standby()
	// A server syncs what it was given before it relies on it, and until then asks for
	// it again. Nobody else is known to.
	f.durable = !isServersOwn(f.Dest)
	if f.system, err = f.dataDir.System(); err != nil {
		return err
	}
	if f.system != 0 && f.OpenSpool != nil {
		f.spool, err = f.OpenSpool(f.system, f.dataDir)
		if errors.Is(err, repo.ErrUsage) {
			return err
		}
	}
	return nil
}

// FromSpool delivers the file if it was fetched ahead, and reports whether it did. If
// not, nothing was decided, and the file is to be fetched by Run of another Fetch.
func (f *Fetch) FromSpool(ctx context.Context) bool {
	if f.prepare() != nil {
		return false
	}
	done, err := f.fromSpool(ctx)
	return done && err == nil
}

func (f *Fetch) fromSpool(ctx context.Context) (bool, error) {
	if f.spool == nil || f.name.Kind != Segment {
		return false, nil
	}
	taken, size, err := f.spool.Take(ctx, f.name, f.Dest, f.durable)
	if taken {
		f.served(size)
	}
	return taken, err
}

// try fetches the file from the repository.
func (f *Fetch) try(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	a, closer, err := f.Open(ctx, f.system, f.name)
	if err != nil {
		return err
	}
	defer closer.Close()
	epoch := f.system
	if epoch == 0 {
		epoch, err = a.OnlyEpoch(ctx)
		if errors.Is(err, ErrAbsent) {
			return finalError{a.empty()}
		}
		if err != nil {
			return err
		}
	}
	var info *Info
	var got error // what went wrong with the archive
	var history bytes.Buffer
	err = deliver(f.Dest, f.durable, func(w io.Writer) error {
		to := &recipient{Writer: w}
		if f.name.Kind == History {
			to.Writer = io.MultiWriter(w, &history)
		}
		info, err = a.Send(ctx, epoch, f.name, to)
		if to.err == nil {
			got = err
		}
		return err
	})
	switch {
	case errors.Is(got, ErrAbsent):
		return f.absent(ctx, a, epoch)
	case got != nil:
		return got
	case err != nil:
		return finalError{err}
	}
	f.followUp(info, history.Bytes())
	return nil
}

// absent decides what the server may be told of a file that is not there.
func (f *Fetch) absent(ctx context.Context, a *Archive, epoch SystemID) error {
	// A standby is told the same whatever the reason, and asks every few seconds.
	if !f.standby {
		if err := a.mayEnd(ctx, epoch, f.name, f.dataDir); err != nil {
			return err
		}
	}
	return &EndError{Name: f.name}
}

// followUp sees to what the server will ask for next.
func (f *Fetch) followUp(info *Info, history []byte) {
	if f.spool == nil {
		return
	}
	switch f.name.Kind {
	case Segment:
		f.served(info.Length)
	case History:
		_ = f.spool.Followed(f.name.Timeline, history) // costs a segment that is fetched in vain
	}
}

// served notes that the server got the segment, and has those after it fetched.
func (f *Fetch) served(size int64) {
	if f.spool.Served(f.name, uint32(size)) != nil || f.spool.Ring() || f.StartPrefetch == nil {
		return
	}
	_ = f.StartPrefetch() // if it cannot be had, the server waits a little longer for each
}

// isServersOwn reports whether dest is one of the two names that a server gives.
func isServersOwn(dest string) bool {
	switch filepath.Base(dest) {
	case "RECOVERYXLOG", "RECOVERYHISTORY":
		return true
	}
	return false
}
