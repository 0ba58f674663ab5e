package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/retention"
)

// keepFlags say what forget keeps.
type keepFlags struct {
	KeepLast    int           `name:"keep-last" placeholder:"N" help:"Keep the newest N."`
	KeepHourly  int           `name:"keep-hourly" placeholder:"N" help:"Keep the newest of each of the newest N hours in which there are any."`
	KeepDaily   int           `name:"keep-daily" placeholder:"N" help:"The same with days."`
	KeepWeekly  int           `name:"keep-weekly" placeholder:"N" help:"With weeks; they begin on Mondays."`
	KeepMonthly int           `name:"keep-monthly" placeholder:"N" help:"With months."`
	KeepYearly  int           `name:"keep-yearly" placeholder:"N" help:"With years."`
	KeepWithin  retention.Age `name:"keep-within" placeholder:"TIME" help:"Keep what is not older than the newest by more than this: 14d, 1y6m, 2w, 36h."`
	DryRun      bool          `name:"dry-run" help:"Say what would be forgotten, and why the rest stays; change nothing."`
	Prune       bool          `help:"Then run 'gpdedup repo prune', which frees the space of what was deleted longer than a day ago."`
}

// keepHelp is a part of the help of both forget commands.
const keepHelp = `What any rule keeps stays; at least the newest always does. Ages count from when a backup
was complete, by the storage's clock; names are not read as dates. Hours and days are those
of the local time zone (TZ). What is forgotten is deleted as by 'delete': it can be brought
back until a prune removes it.
`

// policy returns the policy that the flags ask for.
func (k *keepFlags) policy(what string) (retention.Policy, error) {
	for _, f := range []struct {
		name string
		n    int
	}{
		{"last", k.KeepLast}, {"hourly", k.KeepHourly}, {"daily", k.KeepDaily},
		{"weekly", k.KeepWeekly}, {"monthly", k.KeepMonthly}, {"yearly", k.KeepYearly},
	} {
		if f.n < 0 {
			return retention.Policy{}, usageError(fmt.Sprintf("%s: --keep-%s is less than 0", what, f.name), "")
		}
	}
	p := retention.Policy{
		Last: k.KeepLast, Hourly: k.KeepHourly, Daily: k.KeepDaily, Weekly: k.KeepWeekly, Monthly: k.KeepMonthly,
		Yearly: k.KeepYearly, Within: k.KeepWithin, Location: time.Local,
	}
	if p.IsZero() {
		return p, usageError(what+": no rule says what to keep", "--keep-daily 7 --keep-weekly 5 --keep-monthly 12, for example; with --dry-run first")
	}
	return p, nil
}

// pruneAfter prunes if that is asked for, and returns what came of it.
func (k *keepFlags) pruneAfter(g *Globals, r *repo.Repo) (*repo.PruneReport, error) {
	if !k.Prune {
		return nil, nil
	}
	o := repo.PruneOptions{
		DryRun: k.DryRun, Grace: repo.DefaultGrace, MinAge: repo.DefaultMinAge, MaxUnused: repo.DefaultMaxUnused,
	}
	o.Progress = g.stages()
	defer o.Progress("", 0, 0)
	return r.Prune(g.Context(), o)
}

// verdict is a line about a backup, or a version of a stream.
type verdict struct {
	name    string
	stored  time.Time
	keep    bool
	reasons []string
}

// writeVerdicts writes a table of what is kept and what is not.
func writeVerdicts(w io.Writer, dryRun bool, list []verdict) {
	t := newTable(w)
	for _, v := range list {
		what := "keep"
		switch {
		case !v.keep && dryRun:
			what = "would forget"
		case !v.keep:
			what = "forgotten"
		}
		row(t, what, v.name, formatTime(v.stored), strings.Join(v.reasons, ", "))
	}
	_ = t.Flush() // to a buffer
}

// writeForgotten sums up.
func writeForgotten(w io.Writer, dryRun bool, kept, forgotten int, noun string) {
	verb := "forgotten"
	if dryRun {
		verb = "would be forgotten"
	}
	say(w, "%s kept, %d %s", count(kept, noun), forgotten, verb)
}

// writePrune writes what the prune after it did.
func writePrune(w io.Writer, p *repo.PruneReport) {
	say(w, "prune:")
	(&pruneReport{PruneReport: p}).write(w)
}
