package base

import (
	"context"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/wal"
)

// Unfinished is a push of which a mark is left, and no backup: it goes on, or it was
// killed. Until the mark is taken away, it keeps WAL.
type Unfinished struct {
	Label  string       `json:"-"`
	System wal.SystemID `json:"-"`
	From   string       `json:"keeps_wal_from"` // segment
	Host   string       `json:"host"`
	Began  time.Time    `json:"began"`

	mark string
}

// FindUnfinished returns the pushes that have a mark. Who wants those that have no backup
// lists backups after this: one that comes to its end meanwhile is in that list.
func FindUnfinished(ctx context.Context, a *wal.Archive) ([]Unfinished, error) {
	epochs, err := a.Epochs(ctx)
	if err != nil {
		return nil, err
	}
	var all []Unfinished
	for _, system := range epochs {
		marks, err := a.Marks(ctx, system)
		if err != nil {
			return nil, err
		}
		for _, m := range marks {
			if label, ok := strings.CutPrefix(m.Standby, wal.BasePushPrefix); ok {
				all = append(all, Unfinished{
					Label: label, System: system, From: m.From.String(), Host: m.Host, Began: m.Time.UTC(), mark: m.Standby,
				})
			}
		}
	}
	return all, nil
}

// UnfinishedRows returns the rows of pushes that have none among those of backups.
func UnfinishedRows(a *wal.Archive, all []Unfinished, backups []Row) []Row {
	known := make(map[string]bool)
	for i := range backups {
		known[backups[i].Label] = true
	}
	var rows []Row
	for i := range all {
		if u := &all[i]; !known[u.Label] {
			rows = append(rows, Row{
				Namespace: a.Namespace, Content: a.Content, Label: u.Label, Stored: u.Began, Host: u.Host,
				Problem: "not complete: it is still being pushed, or that was killed", Unfinished: u, Reach: []To{},
			})
		}
	}
	return rows
}

// GiveUp takes away the marks of pushes of that label that have no backup, so that they keep
// no WAL any more, and reports whether there were any. A push that goes on all the same is
// not harmed: it makes its mark again before it becomes visible, and looks whether its WAL
// is there.
func GiveUp(ctx context.Context, a *wal.Archive, label string) (bool, error) {
	all, err := FindUnfinished(ctx, a)
	if err != nil {
		return false, err
	}
	given := false
	for i := range all {
		if u := &all[i]; u.Label == label {
			had, err := a.ForgetStandby(ctx, u.System, u.mark)
			if err != nil {
				return false, err
			}
			given = given || had
		}
	}
	return given, nil
}
