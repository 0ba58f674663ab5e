package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
)

// CleanupOptions say what may be removed.
type CleanupOptions struct {
	// From is the first file that is still needed: by the standby, if one is named,
	// else by anybody. A .backup file also says that no older base backup is.
	From    Name
	Standby string // whose mark is set to From; may be empty

	// Exclusive removes everything before From, whoever else may need it, as
	// pg_archivecleanup does.
	Exclusive bool
	DryRun    bool
}

// CleanupReport says what Cleanup did, or would do.
type CleanupReport struct {
	System    SystemID `json:"-"`
	From      string   `json:"from"`        // everything from here on is kept
	KeptFor   string   `json:"kept_for"`    // who needs it
	Removed   int      `json:"removed"`     // files
	Bytes     int64    `json:"freed_bytes"` // that their objects took
	First     string   `json:"first_removed,omitempty"`
	Last      string   `json:"last_removed,omitempty"`
	DryRun    bool     `json:"dry_run"`
	Remaining int      `json:"remaining"` // segments
}

// Cleanup removes segments that nobody needs any more: those before what was asked
// for, before the mark of any standby, and before the start of any base backup that
// the archive knows. Histories stay. Segments are compared by address, whatever their
// timeline: what a backup or a standby needs of any timeline lies behind its start.
func (a *Archive) Cleanup(ctx context.Context, epoch SystemID, o CleanupOptions, now time.Time) (*CleanupReport, error) {
	if o.Standby != "" && !o.DryRun {
		if err := a.SetMark(ctx, epoch, o.Standby, o.From, now); err != nil {
			return nil, err
		}
	}
	limit := floor{o.From.Position(), o.From.segment(), "what was asked for"}
	if o.Standby != "" {
		limit.who = "standby " + o.Standby
	}
	var files []Entry
	if err := a.List(ctx, epoch, func(e Entry) error { files = append(files, e); return nil }, nil); err != nil {
		return nil, err
	}
	if !o.Exclusive {
		if err := a.lowerFloor(ctx, epoch, o, files, &limit); err != nil {
			return nil, err
		}
	}
	report := &CleanupReport{System: epoch, From: limit.file, KeptFor: limit.who, DryRun: o.DryRun}
	var doomed []Entry
	for _, e := range files {
		switch {
		case e.Name.isSegment() && e.Name.Position() < limit.position,
			// The label of a backup that the user does not keep any more.
			o.dropsLabel(e.Name) && e.Name.Position() < limit.position:
			doomed = append(doomed, e)
		case e.Name.Kind == Segment:
			report.Remaining++
		}
	}
	return report, a.remove(ctx, epoch, doomed, report)
}

// floor is an address before which nothing is needed.
type floor struct {
	position uint64
	file     string
	who      string // needs it
}

func (f *floor) lower(n Name, who string) {
	if n.Position() < f.position {
		*f = floor{n.Position(), n.segment(), who}
	}
}

// dropsLabel reports whether the user said that the base backup of this label is none
// that is kept.
func (o *CleanupOptions) dropsLabel(n Name) bool {
	return n.Kind == Backup && o.From.Kind == Backup && o.Standby == "" &&
		cmp.Or(cmp.Compare(n.Position(), o.From.Position()), cmp.Compare(n.Offset, o.From.Offset)) < 0
}

// lowerFloor takes into account who else needs the WAL.
func (a *Archive) lowerFloor(ctx context.Context, epoch SystemID, o CleanupOptions, files []Entry, limit *floor) error {
	marks, err := a.Marks(ctx, epoch)
	if err != nil {
		return err
	}
	for _, m := range marks {
		if m.Standby != o.Standby || !o.DryRun {
			limit.lower(m.From, "standby "+m.Standby)
		}
	}
	for _, e := range files {
		// Its name has the segment in which the backup starts.
		if e.Name.Kind == Backup && !o.dropsLabel(e.Name) {
			limit.lower(e.Name, "base backup "+e.Name.String())
		}
	}
	return a.noBaseBackups(ctx)
}

// noBaseBackups refuses to go on where base backups are stored, of which this version
// cannot tell what WAL they need.
func (a *Archive) noBaseBackups(ctx context.Context) error {
	ns, err := repo.EscapeName("namespace", a.Namespace)
	if err != nil {
		return err
	}
	stored, err := a.st.Children(ctx, "manifests/base/"+ns+"/"+a.Content+"/")
	if err != nil {
		return err
	}
	if len(stored) > 0 {
		return fmt.Errorf("the repository holds base backups of this cluster (%s and others?): %w", stored[0].Name, repo.ErrNewer)
	}
	return nil
}

// remove removes files, the oldest first: what an interruption leaves is without holes
// but for the few that were being removed.
func (a *Archive) remove(ctx context.Context, epoch SystemID, doomed []Entry, report *CleanupReport) error {
	slices.SortFunc(doomed, func(x, y Entry) int {
		return cmp.Or(cmp.Compare(x.Name.Position(), y.Name.Position()), cmp.Compare(x.Name.String(), y.Name.String()))
	})
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(requestsAtOnce)
	for _, e := range doomed {
		report.Removed++
		report.Bytes += e.Stored
		if e.Name.Kind == Segment {
			if report.First == "" {
				report.First = e.Name.String()
			}
			report.Last = e.Name.String()
		}
		if report.DryRun {
			continue
		}
		g.Go(func() error {
			err := a.st.Delete(gctx, a.key(epoch, e.Name))
			if errors.Is(err, storage.ErrNotExist) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("remove WAL: %w", err)
	}
	return nil
}

// requestsAtOnce bounds requests for many small things.
const requestsAtOnce = 16
