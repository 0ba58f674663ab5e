package wal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gpdedup/gpdedup/repo"
)

// mayEnd decides what it means that a file is absent, for a server that takes it for
// the end of the WAL. It returns nil if everything in the archive allows that.
func (a *Archive) mayEnd(ctx context.Context, epoch SystemID, name Name, d DataDir) error {
	// What is in the file's own folder will be asked for unless there is none at all.
	own := listing{folder: name.folder(), done: make(chan struct{})}
	if name.Kind == Segment {
		go func() {
			defer close(own.done)
			own.segments, own.err = a.segments(ctx, epoch, own.folder)
		}()
	}
	folders, err := a.folders(ctx, epoch)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		return a.holdsNothing(ctx, epoch)
	}
	switch name.Kind {
	case Segment:
		if d.hasSegment(name, epoch) {
			return nil // the server goes on with its own
		}
		return a.segmentMayEnd(ctx, epoch, name, folders, &own)
	case History:
		return a.historyMayEnd(ctx, epoch, name, d, folders)
	}
	return nil
}

// listing is of a folder that was asked for before it was known to be there.
type listing struct {
	folder   string
	segments []Name
	err      error
	done     chan struct{} // closed when it is there
}

// of returns the segments in a folder, of this listing if it is of that.
func (l *listing) of(ctx context.Context, a *Archive, epoch SystemID, folder string) ([]Name, error) {
	if folder != l.folder {
		return a.segments(ctx, epoch, folder)
	}
	<-l.done
	return l.segments, l.err
}

// folders lists what the epoch's files lie in.
func (a *Archive) folders(ctx context.Context, epoch SystemID) ([]string, error) {
	children, err := a.st.Children(ctx, a.prefix+epoch.String()+"/")
	if err != nil {
		return nil, err
	}
	var folders []string
	for _, c := range children {
		if c.Dir && c.Name != standbyFolder {
			folders = append(folders, c.Name)
		}
	}
	return folders, nil
}

// segments lists the segments in a folder, the partial ones included.
func (a *Archive) segments(ctx context.Context, epoch SystemID, folder string) ([]Name, error) {
	files, err := a.st.Children(ctx, a.prefix+epoch.String()+"/"+folder+"/")
	if err != nil {
		return nil, err
	}
	var names []Name
	for _, file := range files {
		if n, err := ParseName(file.Name); err == nil && n.isSegment() && n.folder() == folder {
			names = append(names, n)
		}
	}
	return names, nil
}

// holdsNothing returns the error for an archive that has nothing of the epoch at all:
// that is a wrong namespace or content id, not the end of anything.
func (a *Archive) holdsNothing(ctx context.Context, epoch SystemID) error {
	epochs, err := a.Epochs(ctx)
	if err != nil {
		return err
	}
	if len(epochs) == 0 || slices.Contains(epochs, epoch) { // directories that are empty
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
func (a *Archive) segmentMayEnd(ctx context.Context, epoch SystemID, name Name, folders []string, own *listing) error {
	const hint = "if a server still has the segment in pg_wal, push it from there; else recover to a point before it (recovery_target_lsn), " +
		"or without the archive. gpdedup wal verify lists all that is missing"
	for _, f := range folders {
		// By name, which is by address within a timeline.
		if len(f) != len(name.folder()) || f[:8] != name.folder()[:8] || f < name.folder() {
			continue
		}
		segments, err := own.of(ctx, a, epoch, f)
		if err != nil {
			return err
		}
		for _, n := range segments {
			if n.Position() > name.Position() {
				return &HoleError{Name: name, Why: fmt.Sprintf("%s, after it on the same timeline, is there", n), hint: hint}
			}
		}
	}
	// A timeline that branched off behind the segment needs all of it.
	var size uint32
	for _, t := range timelines(folders) {
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
				if size, err = a.anySegmentSize(ctx, epoch, folders); err != nil {
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
func (a *Archive) historyMayEnd(ctx context.Context, epoch SystemID, name Name, d DataDir, folders []string) error {
	// Of its own timeline a server has the history itself, or there never was one.
	own := d.checkpointTimeline()
	if own == 0 || name.Timeline <= own {
		return nil
	}
	for _, f := range folders {
		if len(f) == 16 && f[:8] == name.folder() {
			segments, err := a.segments(ctx, epoch, f)
			if err != nil {
				return err
			}
			if len(segments) > 0 {
				return &HoleError{
					Name: name, Why: fmt.Sprintf("%s, of that timeline, is there", segments[0]),
					hint: "push the file from pg_wal of a server that is or was on that timeline, or of one of its standbys",
				}
			}
		}
	}
	return nil
}

// timelines returns those of which the archive may have a history, by what its folders
// are called.
func timelines(folders []string) []uint32 {
	var all []uint32
	for _, f := range folders {
		if t, err := strconv.ParseUint(f, 16, 32); err == nil && len(f) == 8 {
			all = append(all, uint32(t))
		}
	}
	return all
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
func (a *Archive) anySegmentSize(ctx context.Context, epoch SystemID, folders []string) (uint32, error) {
	for _, f := range folders {
		if len(f) != 16 {
			continue
		}
		segments, err := a.segments(ctx, epoch, f)
		if err != nil {
			return 0, err
		}
		for _, n := range segments {
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
