package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
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

	// Bases are the base backups in the repository that are not deleted. Cleanup refuses
	// to go on where it finds others, unless it is Exclusive.
	Bases []BaseBackup
	// Deleted are the labels of those that are.
	Deleted []string
}

// BaseBackup is what the archive has to know of a base backup in the repository.
type BaseBackup struct {
	Label    string
	System   SystemID
	From, To Name // the segments that make it consistent
	// Window keeps everything from its start on; without, only what makes it consistent is
	// kept.
	Window bool
}

// BaseLabelPrefix begins the labels, in .backup files, of base backups that are stored in
// the repository. They are kept for the backup itself, not for that file.
const BaseLabelPrefix = "gpdedup base push: "

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
	limit := floor{o.From.Position(), o.From, "what was asked for"}
	if o.From == (Name{}) {
		limit = floor{position: nobody} // those who need something decide
	}
	if o.Standby != "" {
		limit.who = "standby " + o.Standby
	}
	var files []Entry
	if err := a.List(ctx, epoch, func(e Entry) error { files = append(files, e); return nil }, nil); err != nil {
		return nil, err
	}
	dead := make(map[Name]bool)
	if !o.Exclusive {
		err := a.lookAround(ctx, epoch, o, &limit, now)
		if err == nil {
			err = a.lowerFloor(ctx, epoch, o, files, &limit, dead)
		}
		if err != nil {
			return nil, err
		}
	}
	if limit.position == nobody {
		return nil, fmt.Errorf("remove WAL: %w: nothing says what is still needed", repo.ErrUsage)
	}
	doomed := o.doomed(epoch, files, &limit, dead)
	report := &CleanupReport{System: epoch, DryRun: o.DryRun}
	if len(doomed) > 0 && !o.DryRun {
		// Announce, then look: whoever has made a backup visible that this look does not see
		// sees the announcement, and waits until all is removed before it looks what is left.
		withdraw, err := a.announceRemoval(ctx, epoch, limit.name, now)
		if err != nil {
			return nil, err
		}
		if !o.Exclusive {
			if err = a.lookAround(ctx, epoch, o, &limit, now); err == nil {
				doomed = o.doomed(epoch, files, &limit, dead)
			}
		}
		if err == nil {
			err = a.remove(ctx, epoch, doomed)
		}
		if err = errors.Join(err, withdraw()); err != nil {
			return nil, err
		}
	}
	report.From, report.KeptFor = limit.name.segment(), limit.who
	report.count(files, doomed)
	return report, nil
}

// doomed returns which of the files nobody needs, the oldest first.
func (o *CleanupOptions) doomed(epoch SystemID, files []Entry, limit *floor, dead map[Name]bool) []Entry {
	var doomed []Entry
	for _, e := range files {
		below := e.Name.Position() < limit.position
		if e.Name.isSegment() && below && !o.spares(epoch, e.Name) ||
			// The label of a backup that the user does not keep any more.
			(o.dropsLabel(e.Name) || dead[e.Name]) && below {
			doomed = append(doomed, e)
		}
	}
	slices.SortFunc(doomed, func(x, y Entry) int {
		return cmp.Or(cmp.Compare(x.Name.Position(), y.Name.Position()), cmp.Compare(x.Name.String(), y.Name.String()))
	})
	return doomed
}

// count fills in what becomes of the files.
func (r *CleanupReport) count(files, doomed []Entry) {
	for _, e := range files {
		if e.Name.Kind == Segment {
			r.Remaining++
		}
	}
	for _, e := range doomed {
		r.Removed++
		r.Bytes += e.Stored
		if e.Name.Kind == Segment {
			r.Remaining--
			if r.First == "" {
				r.First = e.Name.String()
			}
			r.Last = e.Name.String()
		}
	}
}

// nobody is the position of a floor before anything was found that needs WAL.
const nobody = ^uint64(0)

// spares reports whether a segment makes a base backup consistent.
func (o *CleanupOptions) spares(epoch SystemID, n Name) bool {
	return !o.Exclusive && slices.ContainsFunc(o.Bases, func(b BaseBackup) bool {
		return b.System == epoch && b.From.Position() <= n.Position() && n.Position() <= b.To.Position()
	})
}

// floor is an address before which nothing is needed.
type floor struct {
	position uint64
	name     Name
	who      string // needs it
}

func (f *floor) lower(n Name, who string) {
	if n.Position() < f.position {
		*f = floor{n.Position(), n, who}
	}
}

// dropsLabel reports whether the user said that the base backup of this label is none
// that is kept.
func (o *CleanupOptions) dropsLabel(n Name) bool {
	return n.Kind == Backup && o.From.Kind == Backup && o.Standby == "" &&
		cmp.Or(cmp.Compare(n.Position(), o.From.Position()), cmp.Compare(n.Offset, o.From.Offset)) < 0
}

// lowerFloor takes into account who else needs the WAL. Labels of backups that are no
// more become dead.
func (a *Archive) lowerFloor(ctx context.Context, epoch SystemID, o CleanupOptions, files []Entry, limit *floor, dead map[Name]bool) error {
	for i := range o.Bases {
		if b := &o.Bases[i]; b.System == epoch && b.Window {
			limit.lower(b.From, "base backup "+b.Label)
		}
	}
	for _, e := range files {
		if e.Name.Kind != Backup || o.dropsLabel(e.Name) {
			continue
		}
		ours, err := a.isOurs(ctx, epoch, e.Name)
		if err != nil {
			return err
		}
		if ours {
			dead[e.Name] = !o.hasBase(epoch, e.Name)
			continue
		}
		// Its name has the segment in which the backup starts.
		limit.lower(e.Name, "base backup "+e.Name.String())
	}
	return nil
}

// lookAround takes into account what may have come to be at any moment: marks, and base
// backups.
func (a *Archive) lookAround(ctx context.Context, epoch SystemID, o CleanupOptions, limit *floor, now time.Time) error {
	// Marks are read before backups are looked for: one that is being stored has a mark
	// until it can be seen.
	marks, err := a.Marks(ctx, epoch)
	if err != nil {
		return err
	}
	for _, m := range marks {
		switch {
		case m.removal() && now.Sub(m.Time) > removalForgotten && !o.DryRun:
			if _, err := a.ForgetStandby(ctx, epoch, m.Standby); err != nil {
				return err
			}
		case m.removal() || m.Standby == o.Standby && o.DryRun:
		default:
			limit.lower(m.From, m.who())
		}
	}
	return a.noOtherBases(ctx, &o)
}

// isOurs reports whether a .backup file is of a backup that is, or was, in the repository.
func (a *Archive) isOurs(ctx context.Context, epoch SystemID, name Name) (bool, error) {
	_, data, err := a.Get(ctx, epoch, name)
	if errors.Is(err, ErrAbsent) {
		return true, nil // gone meanwhile
	}
	if err != nil {
		if isObjectError(err) {
			return false, nil // so it is kept
		}
		return false, err
	}
	label, err := ParseLabel(data)
	return err == nil && strings.HasPrefix(label.Label, BaseLabelPrefix), nil
}

// hasBase reports whether a base backup starts in the segment of its .backup file.
func (o *CleanupOptions) hasBase(epoch SystemID, name Name) bool {
	return slices.ContainsFunc(o.Bases, func(b BaseBackup) bool {
		return b.System == epoch && b.From.Position() == name.Position()
	})
}

// checkpoint ends the key of what a stream has so far that is still being stored.
var checkpoint = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\.part-[0-9a-f]{16}-[0-9]+$`) })

// noOtherBases refuses to go on where base backups are stored that the caller does not
// know of: nobody has said what WAL they need.
func (a *Archive) noOtherBases(ctx context.Context, o *CleanupOptions) error {
	ns, err := repo.EscapeName("namespace", a.Namespace)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, label := range o.Deleted {
		known[label] = true
	}
	for i := range o.Bases {
		known[o.Bases[i].Label] = true
	}
	stored, err := a.st.Children(ctx, "manifests/base/"+ns+"/"+a.Content+"/")
	if err != nil {
		return err
	}
	for _, s := range stored {
		if label, err := repo.UnescapeName(s.Name); !checkpoint().MatchString(s.Name) && (err != nil || !known[label]) {
			return repo.WithHint(fmt.Errorf("base backup %s: what WAL it needs is not known", s.Name),
				"if it was stored just now, try again; 'gpdedup base list' says whether it can be read")
		}
	}
	return nil
}

// remove removes files, the oldest first: what an interruption leaves is without holes
// but for the few that were being removed.
func (a *Archive) remove(ctx context.Context, epoch SystemID, doomed []Entry) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(requestsAtOnce)
	began := time.Now().Round(0) // by the clock on the wall: a machine may have slept
	for _, e := range doomed {
		g.Go(func() error {
			if time.Since(began) > removalLimit {
				return fmt.Errorf("gave up after %s; what is left is removed the next time", removalLimit)
			}
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
