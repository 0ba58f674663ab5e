package retention

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Age is a span of the calendar: months and years are as long as they are.
type Age struct {
	Years, Months, Days, Hours int
}

// IsZero reports whether the span is nothing.
func (a Age) IsZero() bool { return a == Age{} }

// Before returns the time that lies the span before t.
func (a Age) Before(t time.Time) time.Time {
	return t.AddDate(-a.Years, -a.Months, -a.Days).Add(-time.Duration(a.Hours) * time.Hour)
}

func (a Age) String() string {
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit string
	}{{a.Years, "y"}, {a.Months, "m"}, {a.Days, "d"}, {a.Hours, "h"}} {
		if part.n != 0 {
			fmt.Fprintf(&b, "%d%s", part.n, part.unit)
		}
	}
	return b.String()
}

// maxCount bounds each number of an Age: more than any calendar has.
const maxCount = 100_000

// ParseAge reads numbers with the units y (years), m (months), w (weeks), d (days) and h
// (hours), the larger before the smaller, each at most once: 30d, 1y6m, 2w, 36h.
func ParseAge(s string) (Age, error) {
	var a Age
	wrong := fmt.Errorf("%q is not a time such as 14d, 1y6m, 2w or 36h (y, m: months, w, d, h)", s)
	rest, units := s, "ymwdh"
	for rest != "" {
		end := 0
		for end < len(rest) && '0' <= rest[end] && rest[end] <= '9' {
			end++
		}
		n, err := strconv.Atoi(rest[:end])
		if err != nil || n > maxCount || end == len(rest) {
			return Age{}, wrong
		}
		at := strings.IndexByte(units, rest[end])
		if at < 0 {
			return Age{}, wrong
		}
		switch units[at] {
		case 'y':
			a.Years = n
		case 'm':
			a.Months = n
		case 'w':
			a.Days += 7 * n
		case 'd':
			a.Days += n
		case 'h':
			a.Hours = n
		}
		rest, units = rest[end+1:], units[at+1:]
	}
	if a.IsZero() {
		return Age{}, wrong
	}
	return a, nil
}

// UnmarshalText reads what ParseAge reads.
func (a *Age) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAge(string(text))
	return err
}

// MarshalText is the reverse of UnmarshalText.
func (a Age) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
