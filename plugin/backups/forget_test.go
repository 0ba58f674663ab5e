package backups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/retention"
	"github.com/gpdedup/gpdedup/storage/mem"
)

func (w *world) forget(o ForgetOptions) *ForgetReport {
	w.t.Helper()
	report, err := Forget(context.Background(), w.r, testNamespace, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// at stores a backup at a time of the storage's clock.
func (w *world) at(when time.Time, b backup) {
	w.t.Helper()
	w.st.SetClock(func() time.Time { return when })
	w.store(b)
}

var firstDay = time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)

func day(n int) time.Time { return firstDay.AddDate(0, 0, n) }

func stamp(at time.Time) string { return at.Format("20060102150405") }

func reasonsOf(report *ForgetReport) map[string]string {
	out := make(map[string]string)
	for _, g := range report.Groups {
		for _, d := range g.Backups {
			verb := "forget: "
			if d.Keep {
				verb = "keep: "
			}
			out[d.Timestamp] = verb + strings.Join(d.Reasons, ", ")
		}
	}
	return out
}

func TestForgetReasons(t *testing.T) {
	w := newWorld(t)
	// A full backup and three incremental ones; the first of them gives the last no table.
	full, second, third := stamp(day(0)), stamp(day(1)), stamp(day(2))
	w.at(day(0), backup{ts: full, oids: []int{11}})
	w.at(day(1), backup{ts: second, oids: []int{11}, plan: []string{full}})
	w.at(day(2), backup{ts: third, plan: []string{full, second}})
	failed, late := stamp(day(3)), stamp(day(9))
	w.at(day(3), backup{ts: failed, oids: []int{11}, status: "Failure"})
	running := stamp(day(4))
	w.at(day(4), backup{ts: running, oids: []int{11}, skip: []string{"_config.yaml"}})
	missing := stamp(day(4).Add(time.Hour))
	w.at(day(4), backup{ts: missing, oids: []int{11}, skip: []string{"_0_"}})
	lost := stamp(day(4).Add(2 * time.Hour))
	w.at(day(4), backup{ts: lost, oids: []int{11}, plan: []string{stamp(day(-9))}})
	other, part := stamp(day(1).Add(time.Hour)), stamp(day(1).Add(2*time.Hour))
	w.at(day(1), backup{ts: other, oids: []int{11}, database: "other"})
	w.at(day(1), backup{ts: part, oids: []int{11}, filtered: true})
	// Names of the future and of no calendar, stored long ago: neither takes a place.
	future, strange := "20991231235959", "99684923394650"
	w.at(day(0).Add(time.Hour), backup{ts: future, oids: []int{11}})
	w.at(day(8), backup{ts: strange, oids: []int{11}})
	whole := stamp(day(5))
	w.at(day(5), backup{ts: whole, oids: []int{11}})
	lateFailed := stamp(day(6))
	w.at(day(6), backup{ts: lateFailed, oids: []int{11}, status: "Failure"})
	gone := stamp(day(7))
	w.at(day(7), backup{ts: gone, oids: []int{11}})
	w.delete(gone)
	w.at(day(3), backup{ts: late, oids: []int{11}})

	want := map[string]string{
		full: "keep: " + third + " builds on it", second: "keep: " + third + " builds on it",
		third: "keep: last", late: "keep: last", whole: "keep: last",
		failed: "forget: failed, and a newer one is complete", lateFailed: "keep: failed, and no newer one is complete",
		running: "keep: incomplete: never chosen", missing: "keep: incomplete: never chosen",
		lost: "keep: broken chain: never chosen", other: "keep: last", part: "keep: last",
		future: "forget: no rule keeps it", strange: "keep: its timestamp is no date, so it is never chosen",
	}
	policy := retention.Policy{Last: 3}
	before := w.st.Keys()
	got := reasonsOf(w.forget(ForgetOptions{Policy: policy, DryRun: true}))
	for ts := range want {
		if got[ts] != want[ts] {
			t.Errorf("%s: %q, want %q", ts, got[ts], want[ts])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d decisions, want %d: %v", len(got), len(want), got)
	}
	if !slices.Equal(w.st.Keys(), before) {
		t.Error("a dry run changed the repository")
	}
	report := w.forget(ForgetOptions{Policy: policy})
	slices.Sort(report.Forgot)
	if !maps.Equal(reasonsOf(report), want) || !slices.Equal(report.Forgot, []string{failed, future}) {
		t.Errorf("forgot %v", report.Forgot)
	}
	for _, s := range w.list(ListOptions{}) {
		if s.Timestamp == failed || s.Timestamp == future {
			t.Errorf("%s is still there", s.Timestamp)
		}
	}
	// What was forgotten is deleted, not gone.
	if err := w.r.Undelete(context.Background(), repo.Name{Class: repo.Backup, Namespace: testNamespace, Group: future}); err != nil {
		t.Error(err)
	}
	if report := w.forget(ForgetOptions{Policy: retention.Policy{Last: 1}, Database: "other"}); len(report.Groups) != 1 || len(report.Forgot) != 0 {
		t.Errorf("of the other database: %+v", report)
	}
	if _, err := Forget(context.Background(), w.r, testNamespace, ForgetOptions{}); !errors.Is(err, repo.ErrUsage) {
		t.Errorf("without a rule: %v", err)
	}
}

// TestForgetWarnsOfCopies: what was copied from another repository is as old as the copy.
func TestForgetWarnsOfCopies(t *testing.T) {
	w := newWorld(t)
	for n := range 5 {
		w.at(day(30), backup{ts: stamp(day(n)), oids: []int{11}})
	}
	report := w.forget(ForgetOptions{Policy: retention.Policy{Daily: 7}, DryRun: true})
	if len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "5 of the backups") {
		t.Errorf("warnings: %q", report.Warnings)
	}
}

// TestForgetProperty compares with the rules, read one by one, on repositories made at
// random.
func TestForgetProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		type made struct {
			backup
			stored time.Time
		}
		var all []made
		for n := range rapid.IntRange(1, 9).Draw(rt, "backups") {
			b := backup{
				ts:       stamp(day(n)),
				database: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "database"),
				status:   rapid.SampledFrom([]string{"Success", "Success", "Success", "Failure"}).Draw(rt, "status"),
			}
			if rapid.IntRange(0, 7).Draw(rt, "strange") == 0 {
				b.ts = fmt.Sprintf("2026%02d99000000", n)
			}
			for _, x := range all {
				if x.database == b.database && x.status == "Success" && rapid.IntRange(0, 2).Draw(rt, "builds on") == 0 {
					b.plan = append(b.plan, x.ts)
				}
			}
			if rapid.IntRange(0, 5).Draw(rt, "running") == 0 {
				b.skip, b.status = []string{"_config.yaml"}, "running"
			}
			stored := day(rapid.IntRange(0, 12).Draw(rt, "stored"))
			w.at(stored, b)
			all = append(all, made{b, stored})
		}
		policy := retention.Policy{
			Last: rapid.IntRange(0, 2).Draw(rt, "last"), Daily: rapid.IntRange(0, 3).Draw(rt, "daily"), Weekly: rapid.IntRange(0, 2).Draw(rt, "weekly"),
		}
		if policy.IsZero() {
			policy.Within = retention.Age{Days: rapid.IntRange(1, 9).Draw(rt, "within")}
		}
		status := make(map[string]Status)
		for _, s := range w.list(ListOptions{}) {
			status[s.Timestamp] = s.Status
		}
		keep := make(map[string]bool)
		for _, b := range all {
			_, err := time.Parse("20060102150405", b.ts)
			var group []retention.Backup
			newest := time.Time{}
			for _, x := range all {
				if _, err := time.Parse("20060102150405", x.ts); err == nil && x.database == b.database && status[x.ts] == Complete {
					group = append(group, retention.Backup{Name: x.ts, Stored: x.stored})
					if x.stored.After(newest) {
						newest = x.stored
					}
				}
			}
			switch {
			case err != nil || status[b.ts] != Complete && status[b.ts] != Failed:
				keep[b.ts] = true
			case status[b.ts] == Failed:
				keep[b.ts] = !newest.After(b.stored) || !policy.Within.IsZero() && !b.stored.Before(policy.Within.Before(newest))
			default:
				for _, d := range policy.Apply(group) {
					if d.Name == b.ts && d.Keep {
						keep[b.ts] = true
					}
				}
			}
		}
		for again := true; again; {
			again = false
			for _, b := range all {
				if b.status == "running" {
					continue // nothing says what it builds on
				}
				for _, ts := range b.plan {
					if keep[b.ts] && !keep[ts] {
						keep[ts], again = true, true
					}
				}
			}
		}
		report := w.forget(ForgetOptions{Policy: policy})
		after := make(map[string]Status)
		for _, s := range w.list(ListOptions{}) {
			after[s.Timestamp] = s.Status
		}
		for _, b := range all {
			if _, there := after[b.ts]; there != keep[b.ts] || slices.Contains(report.Forgot, b.ts) == keep[b.ts] {
				rt.Fatalf("%+v: %s (%s): there %v, want %v: %+v", policy, b.ts, status[b.ts], there, keep[b.ts], report)
			}
			if keep[b.ts] && after[b.ts] != status[b.ts] {
				rt.Fatalf("%s was %s and is %s", b.ts, status[b.ts], after[b.ts])
			}
		}
	})
}

// TestForgetLooksAgain: an incremental backup that is completed while its base is being
// forgotten keeps it.
func TestForgetLooksAgain(t *testing.T) {
	w := newWorld(t)
	base := stamp(day(0))
	w.at(day(0), backup{ts: base, oids: []int{11}})
	w.at(day(1), backup{ts: stamp(day(1)), oids: []int{11}})
	w.st.SetClock(func() time.Time { return day(2) })
	came := false
	w.st.SetHook(func(op, key string) mem.Fault {
		if op == "put" && strings.HasPrefix(key, "gc/deleted/") && !came {
			came = true
			w.store(backup{ts: stamp(day(2)), oids: []int{11}, plan: []string{base}})
		}
		return mem.Fault{}
	})
	report := w.forget(ForgetOptions{Policy: retention.Policy{Last: 1}})
	if !came || len(report.Forgot) != 0 || reasonsOf(report)[base] != "keep: "+stamp(day(2))+", which came meanwhile, builds on it" {
		t.Errorf("forgot %v: %v", report.Forgot, reasonsOf(report))
	}
	if d := w.show(stamp(day(2))); d.Status != Complete {
		t.Errorf("it is %s: %s", d.Status, d.Reason)
	}
}
