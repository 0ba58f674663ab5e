package base

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// Kind says what a recovery goes to.
type Kind string

// The kinds of targets. Unsaid is the end of the WAL, or the end of the backup itself
// where the WAL behind it was removed.
const (
	Unsaid    Kind = ""
	Latest    Kind = "latest"    // the end of the WAL
	Immediate Kind = "immediate" // where the backup becomes consistent
	AtTime    Kind = "time"
	AtLSN     Kind = "lsn"
	AtName    Kind = "name" // a restore point
	AtXID     Kind = "xid"
)

// Target is where a recovery is to end.
type Target struct {
	Kind      Kind
	Time      time.Time
	LSN       wal.LSN
	Text      string // the name or transaction id
	Exclusive bool   // just before the target, not just after it
	Timeline  string // number, "latest", "current" or ""
	Standby   bool   // the server is to follow
}

// Plan is a backup, and how a recovery gets from it to the target.
type Plan struct {
	Backup   *Backup
	Target   Target // never Unsaid
	Timeline string // recovery_target_timeline
	Archive  bool   // the archive has WAL of the cluster
	Until    string // the last segment that is there, "" if the archive has none
	Gap      bool   // WAL is missing behind the target: the server must not look there
	Warnings []string
}

// GapError says that WAL which a recovery needs is not in the archive.
type GapError struct {
	Backup      string
	First, Last wal.Name
	Why         string
}

func (e *GapError) Error() string {
	what := e.First.String()
	if e.First != e.Last {
		what += " to " + e.Last.String()
	}
	return fmt.Sprintf("base backup %s: %s: WAL is missing: %s", e.Backup, e.Why, what)
}

// Is makes it repo.ErrDamaged.
func (e *GapError) Is(target error) bool { return target == repo.ErrDamaged }

// Hint returns the next step.
func (e *GapError) Hint() string {
	return "'gpdedup base list' shows how far each backup goes; --immediate needs no WAL beyond the backup, --time or --lsn none beyond the target"
}

// errNotThere: a backup does not lead to the target.
var errNotThere = errors.New("does not lead there")

// lookAgain is how long to wait before the archive is looked at again.
const lookAgain = 500 * time.Millisecond

// Choose finds the backup from which a recovery gets to the target: that of the label, or
// the newest before the target. What WAL that takes and is not there is a *GapError, after
// the archive was looked at again for as long as patience says: segments are archived
// several at a time, so one may be there before those before it.
func Choose(ctx context.Context, r *repo.Repo, a *wal.Archive, label string, t Target, patience time.Duration) (*Plan, error) {
	list, err := List(ctx, r, a, false)
	if err != nil {
		return nil, err
	}
	if label != "" {
		if _, err := Open(ctx, r, a, label); err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(b Backup) bool { return b.Name.Item != label })
	}
	if len(list) == 0 {
		return nil, noBackup(a)
	}
	for deadline := time.Now().Add(patience); ; {
		plan, err := choose(ctx, a, list, t)
		var gap *GapError
		if !errors.As(err, &gap) || !time.Now().Before(deadline) {
			return plan, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lookAgain):
		}
	}
}

// choose chooses by what the archive has now.
func choose(ctx context.Context, a *wal.Archive, list []Backup, t Target) (*Plan, error) {
	survey, err := a.Survey(ctx)
	if err != nil {
		return nil, err
	}
	var reasons []string
	for i := range list {
		b := &list[i]
		if b.Err != nil {
			return nil, repo.WithHint(fmt.Errorf("base backup %s: %w", b.Name.Item, b.Err), "--backup chooses another: gpdedup base list")
		}
		plan, err := plan(ctx, a, b, survey, t)
		if !errors.Is(err, errNotThere) {
			return plan, err
		}
		reasons = append(reasons, b.Name.Item+" "+strings.TrimSuffix(err.Error(), ": "+errNotThere.Error()))
	}
	return nil, repo.WithHint(fmt.Errorf("%w: no base backup leads to the target: %s", repo.ErrUsage, strings.Join(reasons, "; ")), "gpdedup base list")
}

// plan finds the way from a backup to the target.
func plan(ctx context.Context, a *wal.Archive, b *Backup, survey *wal.Survey, t Target) (*Plan, error) {
	p := &Plan{Backup: b, Target: t, Timeline: "latest"}
	start, stop, err := b.Info.Points()
	if err != nil {
		return nil, err
	}
	if t.Kind == AtTime && t.Time.Before(b.Info.Stopped) {
		return nil, fmt.Errorf("ended at %s: %w", b.Info.Stopped.UTC().Format(time.RFC3339), errNotThere)
	}
	if t.Kind == AtLSN && t.LSN < stop {
		return nil, fmt.Errorf("is consistent at %s only: %w", stop, errNotThere)
	}
	epoch, err := b.Info.Epoch()
	if err != nil {
		return nil, err
	}
	e := survey.Epoch(epoch)
	if e == nil || e.Segments == 0 {
		return p.alone(start, stop)
	}
	p.Archive = true
	to, err := p.timeline(e, stop)
	if err != nil {
		return nil, err
	}
	segments, err := b.Info.Segments()
	if err != nil {
		return nil, err
	}
	if err := consistent(b, e, segments); err != nil {
		return nil, err
	}
	reach := e.Follow(segments[0], to)
	if b.Info.WALIncluded && reach.Last == (wal.Name{}) {
		// What the archive has may begin behind the backup's own.
		last := segments[len(segments)-1]
		n, _ := last.Number(b.Info.SegmentSize)
		reach = e.Follow(wal.SegmentName(last.Timeline, n+1, b.Info.SegmentSize), to)
	}
	if reach.Last != (wal.Name{}) {
		p.Until = reach.Last.String()
	}
	p.Gap = reach.Gap
	return p, p.reaches(ctx, a, e, reach, segments[len(segments)-1])
}

// alone plans without an archive.
func (p *Plan) alone(start, stop wal.LSN) (*Plan, error) {
	b := p.Backup
	segments, err := b.Info.Segments()
	if err != nil {
		return nil, err
	}
	if !b.Info.WALIncluded {
		return nil, &GapError{b.Name.Item, segments[0], segments[len(segments)-1], fmt.Sprintf("it needs the WAL from %s to %s, and the archive is empty", start, stop)}
	}
	switch p.Target.Kind {
	case Unsaid, Latest, Immediate:
		if p.Target.Kind == Unsaid {
			p.Target.Kind = Immediate
		}
	default:
		return nil, &GapError{b.Name.Item, segments[len(segments)-1], segments[len(segments)-1], "the archive is empty, so there is nothing behind"}
	}
	return p, nil
}

// timeline chooses the timeline to follow.
func (p *Plan) timeline(e *wal.EpochSurvey, stop wal.LSN) (uint32, error) {
	from := p.Backup.Info.Timeline
	switch p.Target.Timeline {
	case "", "latest":
		newest := e.Newest(from)
		if e.Leads(from, stop, newest) {
			return newest, nil
		}
		// The newest branched off before this backup: the server would refuse it.
		best := from
		for i := range e.Timelines {
			if t := e.Timelines[i].Timeline; t > best && e.Leads(from, stop, t) {
				best = t
			}
		}
		if p.Target.Timeline == "latest" {
			return 0, fmt.Errorf("is not on the way to timeline %d, the newest: %w", newest, errNotThere)
		}
		p.Timeline = fmt.Sprint(best)
		p.Warnings = append(p.Warnings, fmt.Sprintf("the newest timeline, %d, branched off before this backup; the recovery goes to the end of timeline %d", newest, best))
		return best, nil
	case "current":
		p.Timeline = "current"
		return from, nil
	}
	var to uint32
	if _, err := fmt.Sscanf(p.Target.Timeline, "%d", &to); err != nil || fmt.Sprint(to) != p.Target.Timeline || to == 0 {
		return 0, fmt.Errorf("%w: timeline %q: a number, latest or current is wanted", repo.ErrUsage, p.Target.Timeline)
	}
	if !e.Leads(from, stop, to) {
		return 0, fmt.Errorf("is not on the way to timeline %d: %w", to, errNotThere)
	}
	p.Timeline = p.Target.Timeline
	return to, nil
}

// consistent asks for the WAL of the backup itself.
func consistent(b *Backup, e *wal.EpochSurvey, segments []wal.Name) error {
	if b.Info.WALIncluded {
		return nil
	}
	var missing []wal.Name
	for _, s := range segments {
		if !e.Has(s) {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		return &GapError{b.Name.Item, missing[0], missing[len(missing)-1], "it cannot become consistent"}
	}
	return nil
}

// reaches compares what is there with what the target takes.
func (p *Plan) reaches(ctx context.Context, a *wal.Archive, e *wal.EpochSurvey, r wal.Reach, stop wal.Name) error {
	t := &p.Target
	gap := func(why string) error {
		return &GapError{p.Backup.Name.Item, r.MissingFirst, r.MissingLast, why}
	}
	switch t.Kind {
	case Immediate:
		return nil
	case Unsaid:
		if r.Gap && r.Last.Position() == stop.Position() {
			t.Kind = Immediate
			p.Warnings = append(p.Warnings, fmt.Sprintf("WAL is kept to the backup's own end (%s) only; the recovery ends there", stop))
			return nil
		}
		t.Kind = Latest
		fallthrough
	case Latest:
		if r.Gap && !t.Standby {
			return gap("no recovery gets to the end of the WAL")
		}
		if r.Gap {
			return gap("a standby could not follow")
		}
	case AtLSN:
		need := wal.SegmentAt(r.Timeline, t.LSN, e.SegmentSize)
		if r.Last.Position() >= need.Position() {
			return nil
		}
		if !r.Gap {
			r.MissingFirst, r.MissingLast = need, need
		}
		return gap(fmt.Sprintf("the recovery does not get to %s", t.LSN))
	case AtTime:
		return p.reachesTime(ctx, a, e, r, gap)
	case AtName, AtXID:
		if r.Gap {
			p.Warnings = append(p.Warnings, fmt.Sprintf("WAL is missing after %s (%s to %s): the recovery fails if %s lies behind that", r.Last, r.MissingFirst, r.MissingLast, t.Text))
		}
	}
	return nil
}

// reachesTime goes by when segments were archived: nothing in them happened later.
func (p *Plan) reachesTime(ctx context.Context, a *wal.Archive, e *wal.EpochSurvey, r wal.Reach, gap func(string) error) error {
	if r.Last == (wal.Name{}) {
		return nil
	}
	epoch, err := p.Backup.Info.Epoch()
	if err != nil {
		return err
	}
	end, err := a.PushedAt(ctx, epoch, r.Last)
	if err != nil || p.Target.Time.Before(end) {
		return err
	}
	if r.Gap {
		return gap("the recovery does not get to " + p.Target.Time.UTC().Format(time.RFC3339))
	}
	p.Warnings = append(p.Warnings, fmt.Sprintf("the archive ends with %s, archived at %s: if nothing was committed after the target, the server says that the target was not reached; then restore with --latest",
		r.Last, end.UTC().Format(time.RFC3339)))
	return nil
}
