// Package retention says which of many backups of the same thing are to be kept.
//
// What flows in: a policy, and the backups with the times at which they were stored, by
// the storage's clock. What flows out: for each of them whether it is kept, and by which
// rules. Names are never read as dates: whoever can choose a name could else have others
// forgotten.
//
// What never happens: nothing is left. Every rule begins with the newest backup, so a
// policy that has a rule keeps at least that one.
package retention

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Policy says what is kept: what any of its rules keeps.
type Policy struct {
	Last int // the newest so many
	// The newest of each of the newest so many hours, days, ISO weeks, months and years
	// in which there are any.
	Hourly, Daily, Weekly, Monthly, Yearly int
	// Within keeps what is not older than the newest by more than that.
	Within Age
	// Location is where days begin; nil means UTC.
	Location *time.Location
}

// IsZero reports whether the policy has no rule. One without rules must not be applied.
func (p *Policy) IsZero() bool {
	return p.Last == 0 && p.Hourly == 0 && p.Daily == 0 && p.Weekly == 0 && p.Monthly == 0 && p.Yearly == 0 && p.Within.IsZero()
}

// Backup is what a policy is applied to.
type Backup struct {
	Name   string
	Stored time.Time // by the storage's clock
}

// Decision is what a policy says of one backup.
type Decision struct {
	Backup
	Keep  bool
	Rules []string // that keep it, such as "daily 2026-11-22"
}

// bucket is a rule that keeps the newest backup of each period.
type bucket struct {
	rule string
	n    int
	of   func(time.Time) string
}

// Apply returns a decision for each backup, the newest first. A policy without rules
// keeps everything.
func (p *Policy) Apply(backups []Backup) []Decision {
	list := slices.Clone(backups)
	slices.SortFunc(list, func(a, b Backup) int { return cmp.Or(b.Stored.Compare(a.Stored), cmp.Compare(b.Name, a.Name)) })
	out := make([]Decision, len(list))
	location := p.Location
	if location == nil {
		location = time.UTC
	}
	buckets := []bucket{
		{"hourly", p.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15h -0700") }},
		{"daily", p.Daily, func(t time.Time) string { return t.Format("2006-01-02") }},
		{"weekly", p.Weekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", year, week)
		}},
		{"monthly", p.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{"yearly", p.Yearly, func(t time.Time) string { return t.Format("2006") }},
	}
	last := make([]string, len(buckets))
	for i, b := range list {
		d := Decision{Backup: b}
		if i < p.Last {
			d.Rules = append(d.Rules, "last")
		}
		if !p.Within.IsZero() && !b.Stored.Before(p.Within.Before(list[0].Stored.In(location))) {
			d.Rules = append(d.Rules, "within "+p.Within.String())
		}
		for k := range buckets {
			rule := &buckets[k]
			// What is sorted by time comes period by period.
			if period := rule.of(b.Stored.In(location)); rule.n > 0 && period != last[k] {
				last[k] = period
				rule.n--
				d.Rules = append(d.Rules, rule.rule+" "+period)
			}
		}
		d.Keep = len(d.Rules) > 0 || p.IsZero()
		out[i] = d
	}
	return out
}
