package base

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/wal"
)

// PushOptions say what is stored, and as what.
type PushOptions struct {
	Label   string
	Source  Source
	Origin  manifest.Origin
	Started time.Time
	// MeanChunk is how long a chunk is on average, in bytes: longer members are cut from
	// their own start.
	MeanChunk int64
	// WALTimeout is how long to wait, when all else is stored, for the WAL that makes the
	// backup consistent, unless the stream has it.
	WALTimeout time.Duration
	// Progress is told how many bytes were taken in so far.
	Progress func(bytes int64)
	// Waiting is told once what is waited for. Both may be nil.
	Waiting func(segments int)
}

// PushReport says what was stored.
type PushReport struct {
	repo.WriteReport
	Info Info
	// MarkLeft says why the mark that kept the WAL meanwhile could not be taken away. The
	// backup is stored all the same.
	MarkLeft error
}

// Push stores a base backup. When it returns nil, the backup is durable, and so is the
// WAL that makes it consistent. What is broken off leaves nothing that can be seen.
func Push(ctx context.Context, r *repo.Repo, a *wal.Archive, o PushOptions) (*PushReport, error) {
	name := Name(a, o.Label)
	if err := CheckLabel(a, o.Label); err != nil {
		return nil, err
	}
	if err := free(ctx, r, name); err != nil {
		return nil, err
	}
	previous, err := previous(ctx, r, a)
	if err != nil {
		return nil, err
	}
	s := newStream(o.Source, o.MeanChunk)
	s.info.Label, s.info.Started = o.Label, o.Started.UTC()
	p := &push{r: r, a: a, o: &o, s: s}
	report := &PushReport{}
	report.WriteReport, err = r.Write(ctx, name, s, repo.WriteOptions{
		Origin: o.Origin, Previous: previous, Breaks: s.next, Progress: o.Progress,
		BeforePublish: func() error { return p.settle(ctx) },
	})
	report.Info = s.info
	if err == nil && report.AlreadyStored {
		err = fmt.Errorf("%s: %w", name, repo.ErrConflict)
	}
	if err == nil {
		// Publish, then look: WAL may have been removed while the backup could not be seen.
		err = p.look(ctx)
	}
	report.MarkLeft = p.release(ctx)
	return report, err
}

// Name returns the name of the base backup of that label.
func Name(a *wal.Archive, label string) repo.Name {
	return repo.Name{Class: repo.Base, Namespace: a.Namespace, Group: a.Content, Item: label}
}

// CheckLabel refuses a label that no backup can have. "latest" stands for the newest one.
func CheckLabel(a *wal.Archive, label string) error {
	if label == "latest" || strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: %q cannot be the label of a base backup", repo.ErrUsage, label)
	}
	return Name(a, label).Validate()
}

// free refuses a label that is in use, before the work.
func free(ctx context.Context, r *repo.Repo, name repo.Name) error {
	_, err := r.Stream(ctx, name)
	switch {
	case errors.Is(err, repo.ErrNoStream):
		return nil
	case errors.Is(err, repo.ErrDeleted):
		return repo.WithHint(err, "a label is free again when 'gpdedup repo prune' has removed what it stood for; choose another")
	case err != nil:
		return err
	}
	return repo.WithHint(fmt.Errorf("%s: %w", name, repo.ErrConflict), "choose another label, or none: then the time is the label")
}

// previous returns the newest base backups, which the one that comes is mostly like.
func previous(ctx context.Context, r *repo.Repo, a *wal.Archive) ([]repo.Name, error) {
	const guesses = 3
	items, err := items(ctx, r, a)
	if err != nil {
		return nil, err
	}
	var names []repo.Name
	for _, i := range items {
		if len(names) == guesses {
			break
		}
		names = append(names, i.Name)
	}
	return names, nil
}

// push is what goes on beside the stream itself.
type push struct {
	r      *repo.Repo
	a      *wal.Archive
	o      *PushOptions
	s      *stream
	epoch  wal.SystemID
	marked bool
}

// Protect keeps WAL from being removed while a backup that needs it cannot be seen yet.
// It returns what takes the protection away.
func (s *Server) Protect(ctx context.Context, a *wal.Archive, label string) (release func(context.Context) error, err error) {
	from := wal.SegmentAt(s.Timeline, s.Start, s.SegmentSize)
	if err := a.SetMark(ctx, s.System, wal.BasePushPrefix+label, from, time.Now()); err != nil {
		return nil, fmt.Errorf("protect the WAL of base backup %s: %w", label, err)
	}
	return func(ctx context.Context) error {
		_, err := a.ForgetStandby(context.WithoutCancel(ctx), s.System, wal.BasePushPrefix+label)
		return err
	}, nil
}

// settle is asked when all data is durable and only the manifest is missing.
func (p *push) settle(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	var err error
	if p.epoch, err = p.s.info.Epoch(); err != nil || p.s.info.WALIncluded {
		return err
	}
	first, err := p.s.info.First()
	if err != nil {
		return err
	}
	if err := p.a.SetMark(ctx, p.epoch, wal.BasePushPrefix+p.o.Label, first, time.Now()); err != nil {
		return err
	}
	p.marked = true
	return p.await(ctx)
}

// release takes the mark away. It must not fail a backup that is stored.
func (p *push) release(ctx context.Context) error {
	if !p.marked {
		return nil
	}
	_, err := p.a.ForgetStandby(context.WithoutCancel(ctx), p.epoch, wal.BasePushPrefix+p.o.Label)
	return err
}

// pollWAL is how often the archive is asked for WAL that is waited for.
const pollWAL = 300 * time.Millisecond

// await waits until the WAL that makes the backup consistent is in the archive.
func (p *push) await(ctx context.Context) error {
	segments, err := p.s.info.Segments()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.WALTimeout)
	defer cancel()
	told := false
	for i := 0; i < len(segments); {
		_, err := p.a.Stat(ctx, p.epoch, segments[i])
		switch {
		case err == nil:
			i++
			continue
		case !errors.Is(err, wal.ErrAbsent):
			if ctx.Err() == nil {
				return err
			}
		case !told && p.o.Waiting != nil:
			p.o.Waiting(len(segments) - i)
			told = true
		}
		select {
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return context.Cause(ctx)
			}
			hint := "does archive_command put it there (gpdedup wal check)? --include-wal stores it with the backup, without an archive"
			if p.s.info.FromStandby {
				hint = "a standby does not end its segment: SELECT pg_switch_wal() on the primary, or take the backup with --include-wal"
			}
			return repo.WithHint(fmt.Errorf("the backup needs %s, which is not in the archive after %s (--wal-timeout); it is not stored",
				segments[i], p.o.WALTimeout), hint)
		case <-time.After(pollWAL):
		}
	}
	return nil
}

// look asks once more for the WAL, now that the backup is visible and protects it, and
// when nobody removes any who may not have seen it.
func (p *push) look(ctx context.Context) error {
	if p.s.info.WALIncluded {
		return nil
	}
	segments, err := p.s.info.Segments()
	if err != nil {
		return err
	}
	if err := p.awaitRemoval(ctx, segments[0]); err != nil {
		return err
	}
	var gone []string
	for _, name := range segments {
		_, err := p.a.Stat(ctx, p.epoch, name)
		if errors.Is(err, wal.ErrAbsent) {
			gone = append(gone, name.String())
		} else if err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		return repo.WithHint(fmt.Errorf("WAL that the backup needs was removed while it was stored: %s", strings.Join(gone, ", ")),
			"delete this backup and take another; wal cleanup --exclusive is not for archives with base backups")
	}
	return nil
}

// awaitRemoval waits until no cleanup is under way that may remove the segment first or
// one after it.
func (p *push) awaitRemoval(ctx context.Context, first wal.Name) error {
	for deadline := time.Now().Add(p.o.WALTimeout); ; {
		m, err := p.a.Removing(ctx, p.epoch, first, time.Now())
		if err != nil || m == nil {
			return err
		}
		if time.Now().After(deadline) {
			return repo.WithHint(fmt.Errorf("WAL that the backup needs may be removed at any moment, by a cleanup on %s that began at %s",
				m.Host, m.Time.Format(time.RFC3339)), fmt.Sprintf("delete this backup and take another; if that cleanup was killed: gpdedup wal cleanup --standby '%s' --forget", m.Standby))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollWAL):
		}
	}
}

// DefaultLabel returns the label of a backup that the user gives none.
func DefaultLabel(now time.Time) string { return now.UTC().Format("20060102T150405Z") }
