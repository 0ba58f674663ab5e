package base

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/retention"
	"github.com/gpdedup/gpdedup/wal"
)

// Needs tells a cleanup of the archive what WAL base backups need: all of it from the
// start of each on that is not deleted.
func Needs(ctx context.Context, r *repo.Repo, a *wal.Archive, o *wal.CleanupOptions) error {
	list, err := List(ctx, r, a, true)
	if err != nil {
		return err
	}
	return need(list, o, func(*Backup) bool { return true })
}

// need adds backups to what a cleanup has to spare. A backup that cannot be read stops it:
// nobody knows what WAL it needs.
func need(list []Backup, o *wal.CleanupOptions, window func(*Backup) bool) error {
	for i := range list {
		b := &list[i]
		switch {
		case b.Deleted:
			o.Deleted = append(o.Deleted, b.Name.Item)
			continue
		case b.Err != nil:
			return repo.WithHint(fmt.Errorf("base backup %s: %w", b.Name.Item, b.Err),
				"no WAL is removed while it is not known what this backup needs; delete the backup if it is lost")
		}
		system, err := b.Info.Epoch()
		if err != nil {
			return err
		}
		segments, err := b.Info.Segments()
		if err != nil {
			return err
		}
		o.Bases = append(o.Bases, wal.BaseBackup{
			Label: b.Name.Item, System: system, From: segments[0], To: segments[len(segments)-1], Window: window(b),
		})
	}
	return nil
}

// ForgetOptions say which base backups and what WAL stay.
type ForgetOptions struct {
	Policy retention.Policy
	// PITR is how far back, from the newest backup, the database can be recovered to any
	// moment. Backups from before that keep the WAL that makes them consistent, no other.
	// Zero: as far back as there is a backup.
	PITR   retention.Age
	DryRun bool
}

// Forgotten says what became of one backup.
type Forgotten struct {
	Label  string    `json:"label"`
	Stored time.Time `json:"stored"` // by the storage's clock
	Keep   bool      `json:"keep"`
	Window bool      `json:"pitr"` // the database can be recovered to any moment after it
	Rules  []string  `json:"reasons"`
}

// ForgetReport says what Forget did, or would do.
type ForgetReport struct {
	DryRun  bool                 `json:"dry_run"`
	Backups []Forgotten          `json:"backups"` // the newest first
	WAL     []*wal.CleanupReport `json:"wal"`     // one for each cluster that has backups
}

// Forget deletes the base backups that the policy does not keep, and then removes WAL
// that no recovery needs any more.
func Forget(ctx context.Context, r *repo.Repo, a *wal.Archive, o ForgetOptions) (*ForgetReport, error) {
	if o.Policy.IsZero() {
		return nil, fmt.Errorf("%w: no rule says what to keep", repo.ErrUsage)
	}
	list, err := List(ctx, r, a, true)
	if err != nil {
		return nil, err
	}
	report := &ForgetReport{DryRun: o.DryRun, Backups: []Forgotten{}, WAL: []*wal.CleanupReport{}}
	byLabel := make(map[string]*Backup)
	var candidates []retention.Backup
	for i := range list {
		b := &list[i]
		if b.Deleted {
			continue
		}
		if b.Err != nil { // it counts for nothing, and stays
			report.Backups = append(report.Backups, Forgotten{Label: b.Name.Item, Stored: b.Stored.UTC(), Keep: true, Rules: []string{"it cannot be read: " + b.Err.Error()}})
			continue
		}
		byLabel[b.Name.Item] = b
		candidates = append(candidates, retention.Backup{Name: b.Name.Item, Stored: b.Stored})
	}
	window := map[string]bool{}
	covered := false // a backup from before the window's beginning is in it already
	var beginning time.Time
	for i, d := range o.Policy.Apply(candidates) {
		if i == 0 {
			beginning = o.PITR.Before(d.Stored)
		}
		f := Forgotten{Label: d.Name, Stored: d.Stored.UTC(), Keep: d.Keep, Rules: d.Rules}
		if !d.Keep {
			f.Rules = []string{"no rule keeps it"}
			if !o.DryRun {
				if err := r.Delete(ctx, Name(a, d.Name)); err != nil {
					return nil, err
				}
			}
			byLabel[d.Name].Deleted = true
		} else if o.PITR.IsZero() || !covered {
			f.Window = true
			window[d.Name] = true
			covered = !d.Stored.After(beginning)
		}
		report.Backups = append(report.Backups, f)
	}
	err = removeWAL(ctx, a, list, window, o.DryRun, report)
	return report, err
}

func removeWAL(ctx context.Context, a *wal.Archive, list []Backup, window map[string]bool, dryRun bool, report *ForgetReport) error {
	o := wal.CleanupOptions{DryRun: dryRun}
	if err := need(list, &o, func(b *Backup) bool { return window[b.Name.Item] }); err != nil {
		return err
	}
	epochs, err := a.Epochs(ctx)
	if err != nil {
		return err
	}
	for _, system := range epochs {
		mine := false
		for i := range o.Bases {
			mine = mine || o.Bases[i].System == system && o.Bases[i].Window
		}
		if !mine {
			continue // an older cluster's, or one without backups: what is left of it is kept
		}
		cleaned, err := a.Cleanup(ctx, system, o, time.Now())
		if err != nil {
			return err
		}
		report.WAL = append(report.WAL, cleaned)
	}
	return nil
}

// Delete deletes a backup. Its WAL stays until the next cleanup, or Forget.
func Delete(ctx context.Context, r *repo.Repo, a *wal.Archive, label string) error {
	_, err := Open(ctx, r, a, label)
	if err != nil && !isObjectError(err) {
		return err
	}
	if errors.Is(err, repo.ErrNoStream) || errors.Is(err, repo.ErrDeleted) {
		return err
	}
	return r.Delete(ctx, Name(a, label))
}
