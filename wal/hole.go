package wal

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/gpdedup/gpdedup/repo"
)

// mayEnd decides what it means that a file is absent, for a server that takes it for
// the end of the WAL. It returns nil if everything in the archive allows that.
func (a *Archive) mayEnd(ctx context.Context, epoch SystemID, name Name, d DataDir) error {
	if err := a.mustHold(ctx, epoch); err != nil {
		return err
	}
	switch name.Kind {
	case Segment:
		if d.hasSegment(name, epoch) {
			return nil // the server goes on with its own
		}
		return a.segmentMayEnd(ctx, epoch, name)
	case History:
		return a.historyMayEnd(ctx, epoch, name, d)
	}
	return nil
}

// mustHold refuses an archive that has nothing of the epoch at all: that is a wrong
// namespace or content id, not the end of anything.
func (a *Archive) mustHold(ctx context.Context, epoch SystemID) error {
	epochs, err := a.Epochs(ctx)
	if err != nil {
		return err
	}
	for _, e := range epochs {
		if e == epoch {
			return nil
		}
	}
	if len(epochs) == 0 {
		return finalError{a.empty()}
	}
	return repo.WithHint(&EpochError{Namespace: a.Namespace, Content: a.Content, System: epoch, Have: epochs},
		"is the --cluster (--namespace) or --content in restore_command that of this server?")
}

func (a *Archive) empty() error {
	return repo.WithHint(fmt.Errorf("namespace %q, content %s: nothing was ever archived there", a.Namespace, a.Content),
		"is the --cluster (--namespace) or --content in restore_command the one that archive_command has?")
}

// segmentMayEnd returns a HoleError if WAL after the segment proves that it was once
// written.
func (a *Archive) segmentMayEnd(ctx context.Context, epoch SystemID, name Name) error {
	const hint = "if a server still has the segment in pg_wal, push it from there; else recover to a point before it (recovery_target_lsn), " +
		"or without the archive. gpdedup wal verify lists all that is missing"
	later, found, err := a.HasLater(ctx, epoch, name)
	if err != nil {
		return err
	}
	if found {
		return &HoleError{Name: name, Why: fmt.Sprintf("%s, after it on the same timeline, is there", later), hint: hint}
	}
	// A timeline that branched off behind the segment needs all of it.
	timelines, err := a.timelines(ctx, epoch)
	if err != nil {
		return err
	}
	var size uint32
	for _, t := range timelines {
		if t <= name.Timeline {
			continue
		}
		branches, err := a.History(ctx, epoch, t)
		if errors.Is(err, ErrAbsent) {
			continue
		}
		if err != nil {
			return err
		}
		for _, b := range branches {
			if b.Timeline != name.Timeline {
				continue
			}
			if size == 0 {
				if size, err = a.anySegmentSize(ctx, epoch); err != nil {
					return err
				}
			}
			number, ok := name.Number(size)
			if ok && LSN((number+1)*uint64(size)) <= b.End {
				return &HoleError{Name: name, Why: fmt.Sprintf("timeline %d went on from %s, behind it", t, b.End), hint: hint}
			}
		}
	}
	return nil
}

// historyMayEnd returns a HoleError if there is WAL of a timeline whose history is
// absent. Without one, a server that looks for the newest timeline would take this
// one's number for its own.
func (a *Archive) historyMayEnd(ctx context.Context, epoch SystemID, name Name, d DataDir) error {
	// Of its own timeline a server has the history itself, or there never was one.
	own := d.checkpointTimeline()
	if own == 0 || name.Timeline <= own {
		return nil
	}
	prefix := a.prefix + epoch.String() + "/"
	folders, err := a.st.Children(ctx, prefix)
	if err != nil {
		return err
	}
	for _, f := range folders {
		if len(f.Name) != 16 || f.Name[:8] != name.folder() {
			continue
		}
		files, err := a.st.Children(ctx, prefix+f.Name+"/")
		if err != nil {
			return err
		}
		for _, file := range files {
			if n, err := ParseName(file.Name); err == nil && n.Kind == Segment {
				return &HoleError{
					Name: name, Why: fmt.Sprintf("%s, of that timeline, is there", n),
					hint: "push the file from pg_wal of a server that is or was on that timeline, or of one of its standbys",
				}
			}
		}
	}
	return nil
}

// timelines returns those of which the archive may have a history, ascending.
func (a *Archive) timelines(ctx context.Context, epoch SystemID) ([]uint32, error) {
	folders, err := a.st.Children(ctx, a.prefix+epoch.String()+"/")
	if err != nil {
		return nil, err
	}
	var timelines []uint32
	for _, f := range folders {
		if t, err := strconv.ParseUint(f.Name, 16, 32); err == nil && len(f.Name) == 8 {
			timelines = append(timelines, uint32(t))
		}
	}
	return timelines, nil
}

// History returns where a timeline came from. ErrAbsent, wrapped, says that its
// history is not in the archive.
func (a *Archive) History(ctx context.Context, epoch SystemID, timeline uint32) ([]Branch, error) {
	name := Name{Kind: History, Timeline: timeline}
	_, data, err := a.Get(ctx, epoch, name)
	if err != nil {
		return nil, err
	}
	branches, err := ParseHistory(timeline, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, repo.ErrDamaged, err)
	}
	return branches, nil
}

// anySegmentSize returns the size that segments of the epoch have, in bytes.
func (a *Archive) anySegmentSize(ctx context.Context, epoch SystemID) (uint32, error) {
	prefix := a.prefix + epoch.String() + "/"
	folders, err := a.st.Children(ctx, prefix)
	if err != nil {
		return 0, err
	}
	for _, f := range folders {
		if len(f.Name) != 16 {
			continue
		}
		files, err := a.st.Children(ctx, prefix+f.Name+"/")
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			n, err := ParseName(file.Name)
			if err != nil || !n.isSegment() {
				continue
			}
			info, err := a.Stat(ctx, epoch, n)
			if errors.Is(err, ErrAbsent) {
				continue // removed meanwhile
			}
			if err != nil {
				return 0, err
			}
			return info.SegmentSize, nil
		}
	}
	return 0, fmt.Errorf("the archive has histories of timelines, but no segment: %w", repo.ErrDamaged)
}
