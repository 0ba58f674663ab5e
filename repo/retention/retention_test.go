package retention

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// bruteForce reads the rules word by word, for one backup at a time.
func bruteForce(p Policy, all []Backup, b Backup) bool {
	newer := func(x Backup) bool {
		return x.Stored.After(b.Stored) || x.Stored.Equal(b.Stored) && x.Name > b.Name
	}
	var ahead []Backup
	newest := b.Stored
	for _, x := range all {
		if newer(x) {
			ahead = append(ahead, x)
		}
		if x.Stored.After(newest) {
			newest = x.Stored
		}
	}
	if len(ahead) < p.Last {
		return true
	}
	in := func(t time.Time) time.Time { return t.In(p.Location) }
	w := p.Within
	if !w.IsZero() {
		from := in(newest).AddDate(-w.Years, -w.Months, -w.Days).Add(-time.Duration(w.Hours) * time.Hour)
		if !b.Stored.Before(from) {
			return true
		}
	}
	year := func(t time.Time) any { return in(t).Year() }
	for _, rule := range []struct {
		n      int
		period func(time.Time) any
	}{
		{p.Hourly, func(t time.Time) any {
			_, offset := in(t).Zone()
			return []any{in(t).Year(), in(t).YearDay(), in(t).Hour(), offset}
		}},
		{p.Daily, func(t time.Time) any { return []any{in(t).Year(), in(t).YearDay()} }},
		{p.Weekly, func(t time.Time) any { y, w := in(t).ISOWeek(); return []any{y, w} }},
		{p.Monthly, func(t time.Time) any { return []any{in(t).Year(), in(t).Month()} }},
		{p.Yearly, year},
	} {
		own := fmt.Sprint(rule.period(b.Stored))
		periods := map[string]bool{}
		first := true
		for _, x := range ahead {
			period := fmt.Sprint(rule.period(x.Stored))
			periods[period] = true
			first = first && period != own
		}
		// It is the newest of its period, and fewer than n periods are newer.
		if first && len(periods) < rule.n {
			return true
		}
	}
	return false
}

func TestPolicyMatchesBruteForce(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		newYork = time.FixedZone("far", -5*3600)
	}
	base := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC) // a day before clocks change there
	rapid.Check(t, func(t *rapid.T) {
		count := func(name string) int { return rapid.IntRange(0, 4).Draw(t, name) }
		p := Policy{
			Last: count("last"), Hourly: count("hourly"), Daily: count("daily"), Weekly: count("weekly"),
			Monthly: count("monthly"), Yearly: count("yearly"),
			Location: rapid.SampledFrom([]*time.Location{time.UTC, newYork}).Draw(t, "location"),
		}
		if rapid.Bool().Draw(t, "within") {
			p.Within = Age{Months: count("months"), Days: count("days"), Hours: count("hours")}
		}
		unit := rapid.SampledFrom([]time.Duration{20 * time.Minute, 6 * time.Hour, 5 * 24 * time.Hour, 100 * 24 * time.Hour}).Draw(t, "unit")
		var all []Backup
		for i := range rapid.IntRange(0, 40).Draw(t, "n") {
			all = append(all, Backup{fmt.Sprint(i), base.Add(time.Duration(rapid.IntRange(-20, 20).Draw(t, "at")) * unit)})
		}
		if p.IsZero() {
			return
		}
		decisions := p.Apply(all)
		if len(decisions) != len(all) {
			t.Fatalf("%d decisions on %d backups", len(decisions), len(all))
		}
		for i, d := range decisions {
			if want := bruteForce(p, all, d.Backup); d.Keep != want {
				t.Fatalf("%+v: %s %s: keep %v, want %v", p, d.Name, d.Stored, d.Keep, want)
			}
			if i == 0 && !d.Keep {
				t.Fatal("the newest is not kept")
			}
			if d.Keep != (len(d.Rules) > 0) {
				t.Fatalf("kept without a rule: %+v", d)
			}
		}
	})
}

func TestRules(t *testing.T) {
	day := func(s string) Backup {
		at, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return Backup{s, at}
	}
	all := []Backup{
		day("2026-01-01 01:00"), day("2026-01-01 23:00"), day("2026-01-04 12:00"), // a Sunday
		day("2026-01-05 12:00"), day("2026-02-01 12:00"), day("2025-12-31 12:00"),
	}
	for _, c := range []struct {
		policy Policy
		want   []string
	}{
		{Policy{}, []string{"2026-02-01 12:00", "2026-01-05 12:00", "2026-01-04 12:00", "2026-01-01 23:00", "2026-01-01 01:00", "2025-12-31 12:00"}},
		{Policy{Last: 2}, []string{"2026-02-01 12:00", "2026-01-05 12:00"}},
		{Policy{Daily: 4}, []string{"2026-02-01 12:00", "2026-01-05 12:00", "2026-01-04 12:00", "2026-01-01 23:00"}},
		{Policy{Weekly: 3}, []string{"2026-02-01 12:00", "2026-01-05 12:00", "2026-01-04 12:00"}},
		{Policy{Yearly: 5}, []string{"2026-02-01 12:00", "2025-12-31 12:00"}},
		{Policy{Within: Age{Days: 28}}, []string{"2026-02-01 12:00", "2026-01-05 12:00", "2026-01-04 12:00"}},
		{Policy{Within: Age{Hours: 1}}, []string{"2026-02-01 12:00"}},
		{Policy{Hourly: 1, Monthly: 2}, []string{"2026-02-01 12:00", "2026-01-05 12:00"}},
	} {
		var got []string
		for _, d := range c.policy.Apply(all) {
			if d.Keep {
				got = append(got, d.Name)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v keeps %q, want %q", c.policy, got, c.want)
		}
	}
}

func TestParseAge(t *testing.T) {
	for text, want := range map[string]Age{
		"30d": {Days: 30}, "1y6m": {Years: 1, Months: 6}, "2w": {Days: 14}, "2w1d": {Days: 15}, "36h": {Hours: 36},
		"1y2m3d4h": {Years: 1, Months: 2, Days: 3, Hours: 4},
	} {
		if got, err := ParseAge(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "30", "30x", "-3d", "1d1y", "1d1d", "0d", "1.5d", " 1d", "99999999999999999999d", "200000y"} {
		if got, err := ParseAge(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}
