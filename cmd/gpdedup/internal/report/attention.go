package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// When somebody should be told.
const (
	lateBackup = 36 * time.Hour      // since the newest complete backup of a database
	lateCheck  = 35 * 24 * time.Hour // since a pack was read whole
	soonFull   = 60                  // days

	mostAttention = 40 // sentences
)

// attention says what somebody should look at, the worst first.
func attention(r *Report) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if r.Check.Lost > 0 {
		say("%s marked lost by a repair: gpdedup repo check names the streams that still need what is lost, if there are any", count(r.Check.Lost, "chunk"))
	}
	if r.Check.Damaged > 0 {
		say("%s damaged when a check last looked: gpdedup repo repair", was(r.Check.Damaged, "pack"))
	}
	numbers := make(map[backups.Status]int)
	for i := range r.Backups {
		numbers[r.Backups[i].Status]++
	}
	if n := numbers[backups.Damaged]; n > 0 {
		say("%s damaged manifests or files: gpdedup repo check", has(n, "backup"))
	}
	if n := numbers[backups.BrokenChain]; n > 0 {
		say("%s on a backup that is not complete: gpdedup backup list says which", builds(n))
	}
	for i := range r.Archives {
		a := &r.Archives[i]
		if a.Problem != "" {
			say("the WAL archive of %s, content %s, cannot be read: %s", a.Namespace, a.Content, a.Problem)
		}
		if a.Gaps > 0 {
			say("the WAL archive of %s, content %s, has %s: no recovery gets across; gpdedup wal list --cluster %[1]s", a.Namespace, a.Content, count(a.Gaps, "gap"))
		}
	}
	for i := range r.Bases {
		if b := &r.Bases[i]; b.Problem != "" {
			say("base backup %s of %s cannot be restored: %s", b.Label, b.Namespace, b.Problem)
		}
	}
	for i := range r.Databases {
		d := &r.Databases[i]
		switch {
		case d.Database == "":
		case d.Last.IsZero():
			say("no backup of database %s (namespace %s) is complete", d.Database, d.Namespace)
		case r.Generated.Sub(d.Last) > lateBackup:
			say("the newest complete backup of database %s (namespace %s) is %s old", d.Database, d.Namespace, age(r.Generated.Sub(d.Last)))
		}
	}
	// Of the newest only: what came later has taken the place of older ones.
	if i := newest(r.Backups, repo.Backup); i >= 0 {
		if b := &r.Backups[i]; b.Status == backups.Failed || b.Status == backups.Incomplete {
			say("the newest backup, %s of %s, is %s: %s", b.Name, b.Namespace, b.Status, b.Reason)
		}
	}
	switch k := &r.Check; {
	case k.Packs == 0:
	case k.ReadPacks == 0:
		say("no check has ever read what the packs hold: gpdedup repo check --max-duration 1h, every night")
	case k.Oldest != nil && r.Generated.Sub(*k.Oldest) > lateCheck:
		say("some packs were last read by a check %s ago", age(r.Generated.Sub(*k.Oldest)))
	}
	if f := r.Forecast; f != nil && f.Full != nil && f.Full.Days != nil && *f.Full.Days <= soonFull {
		say("the storage is full in about %s", count(*f.Full.Days, "day"))
	}
	if more := len(out) - mostAttention; more > 0 {
		out = append(out[:mostAttention], fmt.Sprintf("and %d more", more))
	}
	return out
}

func newest(list []Root, class repo.Class) int {
	for i := range list {
		if list[i].Class == class && list[i].Status != backups.Deleted {
			return i
		}
	}
	return -1
}

// count returns the number with its noun: 1 pack, 2 packs.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func was(n int, noun string) string {
	if n == 1 {
		return count(n, noun) + " was"
	}
	return count(n, noun) + " were"
}

func has(n int, noun string) string {
	if n == 1 {
		return count(n, noun) + " has"
	}
	return count(n, noun) + " have"
}

func builds(n int) string {
	if n == 1 {
		return "1 backup builds"
	}
	return count(n, "backup") + " build"
}

// age returns how long something took, in the largest unit that says enough.
func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return count(int(d/time.Second), "second")
	case d < 2*time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}

// shortAge is age as it fits on a card.
func shortAge(d time.Duration) string {
	return strings.NewReplacer(" seconds", " s", " second", " s", " minutes", " min", " minute", " min", " hours", " h", " hour", " h").Replace(age(d)) + " ago"
}
