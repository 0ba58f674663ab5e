package backups

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/retention"
)

// Scope says how much of a database a backup is about. Only backups of the same scope
// stand for each other.
type Scope string

// The scopes.
const (
	Everything   Scope = "everything"
	MetadataPart Scope = "metadata only"
	DataPart     Scope = "data only"
	ChosenTables Scope = "chosen tables" // by any of gpbackup's filters
)

func (c *Config) scope() Scope {
	switch {
	case c.IncludeSchemaFiltered || c.IncludeTableFiltered || c.ExcludeSchemaFiltered || c.ExcludeTableFiltered:
		return ChosenTables
	case c.MetadataOnly:
		return MetadataPart
	case c.DataOnly:
		return DataPart
	}
	return Everything
}

// ForgetOptions say what to forget.
type ForgetOptions struct {
	Policy   retention.Policy // must have a rule
	Database string           // only this one's backups; empty: of all databases
	DryRun   bool
	// Progress is told how many of the timestamps were looked at, by one goroutine at a time.
	Progress func(done, total int)
}

// Decision is what is to become of one backup, and why.
type Decision struct {
	Timestamp string    `json:"timestamp"`
	Status    Status    `json:"status"`
	Stored    time.Time `json:"stored,omitzero"` // config.yaml, by the storage's clock: the backup's age counts from then
	Keep      bool      `json:"keep"`
	Reasons   []string  `json:"reasons"`
}

// Group is the backups that a policy is applied to together.
type Group struct {
	Namespace string     `json:"namespace"`
	Database  string     `json:"database"` // empty: no config.yaml says
	Scope     Scope      `json:"scope,omitempty"`
	Backups   []Decision `json:"backups"` // the newest first
}

// ForgetReport says what Forget decided and did.
type ForgetReport struct {
	DryRun   bool     `json:"dry_run"`
	Groups   []Group  `json:"groups"`
	Kept     int      `json:"kept"`
	Forgot   []string `json:"forgotten"` // timestamps
	Warnings []string `json:"warnings"`
}

// Forget deletes the backups of a namespace that a policy does not keep. The age of a
// backup is that of its config.yaml by the storage's clock, whatever its name says.
//
// Never forgotten is what is incomplete, which may be running; what is damaged or has
// lost what it builds on, which only a person can judge; a timestamp that is no date of
// the calendar; and what any backup that stays builds on.
func Forget(ctx context.Context, r *repo.Repo, namespace string, o ForgetOptions) (*ForgetReport, error) {
	if o.Policy.IsZero() {
		return nil, fmt.Errorf("forget backups: %w: no rule says what to keep", repo.ErrUsage)
	}
	list, err := List(ctx, r, namespace, ListOptions{Progress: o.Progress})
	if err != nil {
		return nil, fmt.Errorf("forget backups: %w", err)
	}
	report := decide(namespace, list, o)
	if o.DryRun || len(report.Forgot) == 0 {
		return report, nil
	}
	if err := forget(ctx, r, namespace, list, report); err != nil {
		return report, fmt.Errorf("forget backups: %w", err)
	}
	return report, nil
}

// copied is by how much a backup may be stored later than its timestamp says before
// somebody is told: it looks like a copy, whose age counts from the copying.
const copied = 7 * 24 * time.Hour

// decide applies the policy to the backups of a namespace.
func decide(namespace string, list []Summary, o ForgetOptions) *ForgetReport {
	report := &ForgetReport{DryRun: o.DryRun, Groups: []Group{}, Forgot: []string{}, Warnings: []string{}}
	decisions := make(map[string]*Decision)
	groups := make(map[string]*Group)
	rules := make(map[string][]retention.Backup) // of each group, what takes part
	newest := make(map[string]time.Time)         // of each group, the newest complete one
	byName := make(map[string]*Summary)
	late := 0
	for i := range list {
		s := &list[i]
		byName[s.Timestamp] = s
		if at, err := time.Parse("20060102150405", s.Timestamp); err == nil && s.configStored.Sub(at) > copied {
			late++
		}
		key := groupOf(s)
		if groups[key] == nil {
			groups[key] = &Group{Namespace: namespace, Database: s.Database, Scope: s.scope}
		}
		decisions[s.Timestamp] = &Decision{Timestamp: s.Timestamp, Status: s.Status, Stored: s.configStored.UTC(), Keep: true, Reasons: []string{}}
		if s.Status == Complete && calendar(s.Timestamp) {
			rules[key] = append(rules[key], retention.Backup{Name: s.Timestamp, Stored: s.configStored})
			if s.configStored.After(newest[key]) {
				newest[key] = s.configStored
			}
		}
	}
	for _, s := range byName {
		d := decisions[s.Timestamp]
		switch {
		case o.Database != "" && s.Database != o.Database:
			d.Reasons = append(d.Reasons, "of another database")
		case !calendar(s.Timestamp):
			d.Reasons = append(d.Reasons, "its timestamp is no date, so it is never chosen")
		case s.Status == Failed:
			d.Keep, d.Reasons = judgeFailed(s, newest[groupOf(s)], &o.Policy)
		case s.Status != Complete:
			d.Reasons = append(d.Reasons, s.Status.String()+": never chosen")
		}
	}
	for _, part := range rules {
		for _, x := range o.Policy.Apply(part) {
			if d := decisions[x.Name]; len(d.Reasons) == 0 {
				if d.Keep, d.Reasons = x.Keep, x.Rules; !x.Keep {
					d.Reasons = []string{"no rule keeps it"}
				}
			}
		}
	}
	// The restore plan of what stays names all that it builds on, to the first, also what
	// gives it no table any more: gprestore reads that one's table of contents all the same.
	for i := range list {
		if s := &list[i]; decisions[s.Timestamp].Keep {
			for _, ts := range s.Ancestors {
				if d := decisions[ts]; d != nil && !d.Keep {
					d.Keep, d.Reasons = true, []string{s.Timestamp + " builds on it"}
				}
			}
		}
	}
	for _, key := range sortedKeys(groups) {
		g := groups[key]
		for i := range list { // the newest timestamp first
			if s := &list[i]; groupOf(s) == key && (o.Database == "" || s.Database == o.Database) {
				d := decisions[s.Timestamp]
				g.Backups = append(g.Backups, *d)
				if d.Keep {
					report.Kept++
				} else {
					report.Forgot = append(report.Forgot, s.Timestamp)
				}
			}
		}
		if len(g.Backups) > 0 {
			slices.SortStableFunc(g.Backups, func(a, b Decision) int { return b.Stored.Compare(a.Stored) })
			report.Groups = append(report.Groups, *g)
		}
	}
	for i := range list {
		if s := &list[i]; !s.configStored.IsZero() && s.Type == "" {
			report.Warnings = append(report.Warnings, s.Timestamp+": its config.yaml cannot be read, so nothing says what it builds on")
		}
	}
	if late > 0 {
		report.Warnings = append(report.Warnings, fmt.Sprintf("%d of the backups were stored more than a week after their timestamps say, "+
			"as copies are; their age counts from then", late))
	}
	return report
}

// judgeFailed says what becomes of a backup that gpbackup itself reported as failed: it
// takes no place among those that a rule keeps, and goes once there is a newer one that
// is complete.
func judgeFailed(s *Summary, newest time.Time, p *retention.Policy) (keep bool, reasons []string) {
	switch {
	case !newest.After(s.configStored):
		return true, []string{"failed, and no newer one is complete"}
	case !p.Within.IsZero() && !s.configStored.Before(p.Within.Before(newest)):
		return true, []string{"within " + p.Within.String()}
	}
	return false, []string{"failed, and a newer one is complete"}
}

func groupOf(s *Summary) string { return s.Database + "\x00" + string(s.scope) }

func sortedKeys(groups map[string]*Group) []string {
	keys := make([]string, 0, len(groups))
	for k := range groups {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// calendar reports whether a timestamp is a date and a time of day that exist.
func calendar(timestamp string) bool {
	_, err := time.Parse("20060102150405", timestamp)
	return err == nil && len(timestamp) == 14
}

// forget deletes what the report names: what builds on others first, so that being
// stopped half way leaves no chain without its beginning. Then it looks again: a backup
// that came meanwhile may build on what was deleted, which is then brought back.
func forget(ctx context.Context, r *repo.Repo, namespace string, list []Summary, report *ForgetReport) error {
	depth := make(map[string]int)
	for i := range list {
		depth[list[i].Timestamp] = len(list[i].Ancestors)
	}
	order := slices.Clone(report.Forgot)
	slices.SortFunc(order, func(a, b string) int { return cmp.Or(depth[b]-depth[a], strings.Compare(b, a)) })
	name := func(ts string) repo.Name {
		return repo.Name{Class: repo.Backup, Namespace: namespace, Group: ts}
	}
	for _, ts := range order {
		if err := r.Delete(ctx, name(ts)); err != nil {
			return err
		}
	}
	needed, err := neededNow(ctx, r, namespace, list, report.Forgot)
	if err != nil {
		return fmt.Errorf("look for backups that came meanwhile: %w", err)
	}
	for ts, by := range needed {
		if err := r.Undelete(ctx, name(ts)); err != nil {
			return fmt.Errorf("%s came meanwhile and builds on %s: %w", by, ts, err)
		}
		report.Forgot = slices.DeleteFunc(report.Forgot, func(x string) bool { return x == ts })
		report.Kept++
		for i := range report.Groups {
			for k := range report.Groups[i].Backups {
				if d := &report.Groups[i].Backups[k]; d.Timestamp == ts {
					d.Keep, d.Reasons = true, []string{by + ", which came meanwhile, builds on it"}
				}
			}
		}
	}
	return nil
}

// neededNow returns which of the forgotten backups are named by a config.yaml that was
// not there when the list was made, and by whose.
func neededNow(ctx context.Context, r *repo.Repo, namespace string, list []Summary, forgotten []string) (map[string]string, error) {
	known := make(map[string]bool)
	for i := range list {
		if !list[i].configStored.IsZero() {
			known[list[i].Timestamp] = true
		}
	}
	groups, err := r.Groups(ctx, repo.Backup, namespace)
	if err != nil {
		return nil, err
	}
	needed := make(map[string]string)
	for _, ts := range groups {
		if known[ts] || !ValidTimestamp(ts) {
			continue
		}
		ancestors, err := readAncestors(ctx, r, namespace, ts)
		if err != nil {
			return nil, err
		}
		for _, ancestor := range ancestors {
			if slices.Contains(forgotten, ancestor) {
				needed[ancestor] = ts
			}
		}
	}
	return needed, nil
}
