package report

import (
	"time"

	"github.com/gpdedup/gpdedup/plugin/backups"
)

const secondsPerDay = 24 * 60 * 60

// dayOf returns the day of a moment, since 1970 in UTC.
func dayOf(t time.Time) int64 {
	s := t.Unix()
	if s < 0 {
		s -= secondsPerDay - 1
	}
	return s / secondsPerDay
}

// dateOf returns the moment at which a day began.
func dateOf(day int64) time.Time { return time.Unix(day*secondsPerDay, 0).UTC() }

// mostShown bounds the days of a report: clocks may be wrong.
const mostShown = 30 * 366

// days lists every day from the first object on, and looks ahead.
func (c *collector) days() {
	today := dayOf(c.o.Now)
	if len(c.census.Days) == 0 {
		return
	}
	first := max(min(c.census.Days[0].Day, today), today-mostShown)
	days := make([]Day, today-first+1)
	for i := range days {
		days[i].day = first + int64(i)
		days[i].Date = dateOf(days[i].day).Format(time.DateOnly)
	}
	// What a wrong clock put outside belongs to the nearest day.
	at := func(day int64) *Day { return &days[min(max(day, first), today)-first] }
	for _, d := range c.census.Days {
		at(d.Day).Added += d.Bytes
		at(d.Day).AddWAL += d.WAL
	}
	for i := range c.out.Backups {
		root := &c.out.Backups[i]
		if root.Status == backups.Deleted || root.Stored.IsZero() {
			continue
		}
		d := at(dayOf(root.Stored))
		d.Backups++
		d.Logical += root.Logical
	}
	for i := range days {
		days[i].Stored, days[i].WAL = days[i].Added, days[i].AddWAL
		if i > 0 {
			days[i].Logical += days[i-1].Logical
			days[i].Stored += days[i-1].Stored
			days[i].WAL += days[i-1].WAL
		}
	}
	c.out.Days = days
	c.forecast(first, today)
}

// forecast looks at the days between the first one, on which everything was new, and
// today, which is not over.
func (c *collector) forecast(first, today int64) {
	if c.first != 0 {
		first = min(max(first, c.first), today)
	}
	var added []int64
	for i := range c.out.Days {
		if d := &c.out.Days[i]; d.day > first && d.day < today {
			added = append(added, d.Added)
		}
	}
	c.out.Forecast = forecast(added, c.out.Totals.Stored, c.o.Capacity, dateOf(today))
}

// checkAges are the steps in which it is told how long ago packs were read, in days.
var checkAges = [...]struct {
	label string
	days  int
}{{"within a day", 1}, {"within a week", 7}, {"within 30 days", 30}, {"within 90 days", 90}, {"longer ago", 0}}

// check says what part of the packs was read when.
func (c *collector) check() {
	k, today := &c.census.Checked, dayOf(c.o.Now)
	check := Check{
		Packs: k.Packs, Bytes: k.Bytes, ReadPacks: k.ReadPacks, ReadBytes: k.ReadBytes, Damaged: k.Damaged, Lost: c.census.LostChunks,
		Ages: []CheckAge{},
	}
	if !k.Oldest.IsZero() {
		oldest := k.Oldest.UTC()
		check.Oldest = &oldest
	}
	if !k.Newest.IsZero() {
		newest := k.Newest.UTC()
		check.Last = &newest
	}
	for _, age := range checkAges {
		check.Ages = append(check.Ages, CheckAge{Label: age.label, MaxDays: age.days})
	}
	for _, d := range k.Days {
		for i, age := range checkAges {
			if age.days == 0 || today-d.Day <= int64(age.days) {
				check.Ages[i].Bytes += d.Bytes
				break
			}
		}
	}
	check.Ages = append(check.Ages, CheckAge{Label: "never, or damaged", Bytes: k.Bytes - k.ReadBytes})
	c.out.Check = check
}
