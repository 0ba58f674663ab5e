package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// Pusher puts files of a server into its archive, as archive_command does.
type Pusher struct {
	Namespace string
	Content   string
	PGData    string // the data directory; empty: the one that the file's directory lies in
	NewEpoch  bool   // begin an epoch although the archive holds others
	Records   string // directory for what was pushed ahead; empty: nothing is
	Packer    *Packer

	// StartAhead starts a process that calls PushAhead for the same file with what is written to
	// the pipe, and does not wait for it; nil if there is to be none.
	StartAhead func() (pipe io.WriteCloser, err error)

	// Recorded, unless it is nil, is told by PushAhead where the records of what it pushes will be.
	Recorded func(dir string)

	// Storage is where the repository is; Open opens it. Opening is left until it is
	// known to be needed, and goes on beside the packing.
	Storage storage.Storage
	Open    func(ctx context.Context) (*repo.Repo, error)
}

// session is one call of archive_command.
type session struct {
	*Pusher
	path    string // of the file
	name    Name
	records *records // nil: there are none
	archive *Archive
	control SystemID // of the data directory; 0 if there is no control file
	begun   map[SystemID]bool
	opened  chan error
}

// Push puts the file into the archive, and returns when it is durable there. Where more files
// wait to be pushed, a process is started that pushes them meanwhile. If there can be none,
// Push goes on with them itself, for a few seconds at most; what becomes of those is of no
// importance for its result.
func (p *Pusher) Push(ctx context.Context, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := p.newSession(path)
	if err != nil || s.records.confirmed(ctx, p, path, s.name) {
		return err
	}
	if s.records != nil {
		s.records.openClaims()
		defer s.records.claims.close()
		s.claim(ctx)
		if s.records.confirmed(ctx, p, path, s.name) { // by now
			return nil
		}
	}
	go func() { s.opened <- s.open(ctx) }()
	if err := s.readControl(); err != nil {
		return err
	}
	go s.prepare(ctx)
	started := make(chan starting, 1)
	go func() { started <- s.startAhead(ctx) }()
	if _, err = s.push(ctx, Source{Name: s.name, Path: path}); err != nil {
		cancel()
	}
	beside := <-started
	if beside.pipe != nil {
		if err == nil {
			_, _ = beside.pipe.Write([]byte{'\n'}) // if it has ended already, so be it
		}
		_ = beside.pipe.Close()
	}
	if err == nil && beside.needed {
		s.ahead(ctx, false)
	}
	return err
}

// newSession returns a session for the file with the path.
func (p *Pusher) newSession(path string) (*session, error) {
	name, err := ParseName(filepath.Base(path))
	if err != nil {
		return nil, err
	}
	if _, err := archivePrefix(p.Namespace, p.Content); err != nil {
		return nil, err
	}
	return &session{
		Pusher: p, path: path, name: name, records: p.openRecords(filepath.Dir(path)),
		begun: make(map[SystemID]bool), opened: make(chan error, 1),
	}, nil
}

// claimPatience is how long a push waits for a process that has begun to push the file ahead. A
// storage that keeps that one waiting for longer is left to the call, which can say so.
const claimPatience = 20 * time.Second

// claim claims the file, after another process has done with it.
func (s *session) claim(ctx context.Context) {
	at := byteOf(s.name)
	if !s.records.claims.take(at) {
		s.records.claims.wait(ctx, at, claimPatience)
		s.records.claims.take(at)
	}
}

// open opens the archive and finds out which epochs it has.
func (s *session) open(ctx context.Context) error {
	r, err := s.Open(ctx)
	if err != nil {
		return err
	}
	if s.archive, err = OpenAt(r, s.Storage, s.Namespace, s.Content); err != nil {
		return err
	}
	children, err := s.archive.st.Children(ctx, s.archive.prefix)
	if err != nil {
		return err
	}
	for _, c := range children {
		if id, ok := parseEpoch(c.Name); ok && c.Dir {
			s.begun[id] = true
		}
	}
	return nil
}

// prepare has the storage make ready for the file while it is being packed: to make
// sure of five directories takes a file system as long as to store the file.
func (s *session) prepare(ctx context.Context) {
	st, ok := storage.As[interface {
		Prepare(ctx context.Context, key string) error
	}](s.Storage)
	if !ok || s.waitOpen(ctx) != nil || !s.begun[s.control] { // nothing is made where nothing may be
		return
	}
	_ = st.Prepare(ctx, s.archive.key(s.control, s.name)) // whatever it is, to store the file meets it too
}

// waitOpen returns when the archive is open.
func (s *session) waitOpen(ctx context.Context) error {
	select {
	case err := <-s.opened:
		s.opened <- err // for whoever asks next
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readControl finds out whose files these are, from the data directory. There may be
// none, where somebody pushes files of a server that is gone.
func (s *session) readControl() error {
	dir := s.PGData
	if dir == "" {
		// pg_wal may be a symbolic link to elsewhere, so the path is taken as it is.
		dir = filepath.Dir(filepath.Dir(filepath.Clean(s.path)))
	}
	c, err := ReadControl(dir)
	if errors.Is(err, fs.ErrNotExist) && s.PGData == "" {
		return nil
	}
	s.control = c.System
	return err
}

// push packs and stores one file, and returns what is known of it.
func (s *session) push(ctx context.Context, src Source) (*quick.Record, error) {
	path, name := src.Path, src.Name
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", repo.ErrUsage, path)
	}
	if name.Kind == History {
		if err := checkHistory(f, name, info.Size()); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	src.System = s.control
	packed, err := s.Packer.Pack(ctx, src, f, info.Size())
	if err != nil {
		return nil, s.explain(path, err)
	}
	if src.Ahead {
		// Nobody has asked for it yet: the server may have taken the file for something else.
		now, err := os.Stat(path)
		if err != nil || quick.Identify(now) != quick.Identify(info) {
			return nil, fmt.Errorf("%s: it changed meanwhile: %w", path, errors.Join(err, ErrAbsent))
		}
	}
	if err := s.waitOpen(ctx); err != nil {
		return nil, err
	}
	if packed.Info.System == 0 {
		if packed.Info.System, err = s.onlyEpoch(ctx); err != nil {
			return nil, err
		}
	}
	epoch := packed.Info.System
	others, err := s.mayBegin(ctx, epoch)
	if err != nil {
		return nil, err
	}
	stored, err := s.archive.Put(ctx, epoch, packed)
	if err != nil {
		return nil, err
	}
	if err := s.hasBegun(ctx, epoch, others); err != nil {
		return nil, err
	}
	return &quick.Record{File: quick.Identify(info), Key: s.archive.key(epoch, name), Stored: stored}, nil
}

func checkHistory(f *os.File, name Name, size int64) error {
	if size > maxText {
		return fmt.Errorf("%w: %d bytes long", ErrHistory, size)
	}
	text := make([]byte, size)
	if _, err := f.ReadAt(text, 0); err != nil {
		return notWhole(err)
	}
	if _, err := ParseHistory(name.Timeline, text); err != nil {
		// A server that is given such a file does not start.
		return fmt.Errorf("%w: %w", repo.ErrDamaged, err)
	}
	return nil
}

// explain says what is wrong with a file that cannot be archived.
func (s *session) explain(path string, err error) error {
	if errors.Is(err, ErrPage) {
		return repo.WithHint(fmt.Errorf("%s: %w: %w", path, repo.ErrDamaged, err),
			"it would be of no use in a recovery, so it is not archived; the server keeps it. Look at it with pg_waldump, and take a new base backup")
	}
	return fmt.Errorf("%s: %w", path, err)
}

// onlyEpoch tells whose file it is where neither the file nor a control file does.
func (s *session) onlyEpoch(ctx context.Context) (SystemID, error) {
	epoch, err := s.archive.OnlyEpoch(ctx)
	if errors.Is(err, ErrAbsent) {
		err = repo.WithHint(fmt.Errorf("%w: %s does not say which cluster it is of, and there is no control file", repo.ErrUsage, filepath.Base(s.path)),
			"give the data directory with --pgdata")
	}
	return epoch, err
}

// mayBegin refuses files of a cluster that is new to an archive with those of another,
// unless the user said that this is meant. It returns the others.
func (s *session) mayBegin(ctx context.Context, epoch SystemID) ([]SystemID, error) {
	if s.begun[epoch] || len(s.begun) == 0 {
		return nil, nil
	}
	others, err := s.archive.Epochs(ctx) // those that really hold something
	if err != nil {
		return nil, err
	}
	if len(others) > 0 && !s.NewEpoch {
		return nil, &EpochError{Namespace: s.Namespace, Content: s.Content, System: epoch, Have: others}
	}
	return others, nil
}

// hasBegun looks, after the first file of an epoch, whether another one began at the
// same time: each of two who put first and then look sees the other.
func (s *session) hasBegun(ctx context.Context, epoch SystemID, others []SystemID) error {
	if s.begun[epoch] || s.NewEpoch {
		return nil
	}
	now, err := s.archive.Epochs(ctx)
	if err != nil {
		return err
	}
	if len(now) > len(others)+1 {
		e := &EpochError{Namespace: s.Namespace, Content: s.Content, System: epoch}
		for _, id := range now {
			if id != epoch {
				e.Have = append(e.Have, id)
			}
		}
		return e
	}
	return nil
}

// RequestLimit is how long one request to the storage may take.
const RequestLimit = 15 * time.Second
