package report

import (
	"math"
	"time"
)

// Forecast is how the repository will grow if days go on as they did.
//
// What each day added is taken for a draw from one distribution; so after h days the
// growth is h times the mean, and as wide as h draws and the doubt about the mean make
// it. What was removed since is not seen: where backups are deleted, growth is
// overestimated, and the repository is full later than is said here.
type Forecast struct {
	Days     int     `json:"days"` // that were looked at: the last ones that are over
	PerDay   int64   `json:"per_day_bytes"`
	Low      int64   `json:"per_day_low_bytes"` // the mean lies between these with a probability of 90 %
	High     int64   `json:"per_day_high_bytes"`
	Points   []Point `json:"points"` // ascending
	Capacity int64   `json:"capacity_bytes,omitempty"`
	Full     *Full   `json:"full,omitempty"` // nil: no capacity was given
}

// Point is the size after some days. It lies between the bounds with a probability of 90 %.
type Point struct {
	After int    `json:"after_days"`
	Date  string `json:"date"`
	Bytes int64  `json:"stored_bytes"`
	Low   int64  `json:"low_bytes"`
	High  int64  `json:"high_bytes"`
}

// Full is in how many days the capacity is reached. A nil is more than a hundred years.
type Full struct {
	Days     *int `json:"days"`
	Earliest *int `json:"earliest_days"` // 5 % to be full before that
	Latest   *int `json:"latest_days"`   // 5 % not to be full by then
}

const (
	leastDays    = 5      // fewer say nothing
	mostDays     = 60     // older ones are another time
	farthestDays = 36_500 // as far as anybody looks
)

// horizons are the days after which a forecast is told.
var horizons = [...]int{30, 90, 180, 365}

// growth is the distribution of what a day adds.
type growth struct {
	now     float64 // bytes stored
	mean    float64
	sd      float64
	n       float64
	quantil float64 // of Student's t, for 90 %, two-sided
}

// forecast looks at what each day added, the oldest first. The first day, on which all
// is new, and the last one, which is not over, must not be among them. It is nil if
// there are too few.
func forecast(added []int64, stored, capacity int64, today time.Time) *Forecast {
	if len(added) > mostDays {
		added = added[len(added)-mostDays:]
	}
	if len(added) < leastDays {
		return nil
	}
	g := growth{now: float64(stored), n: float64(len(added)), quantil: student95(len(added) - 1)}
	for _, a := range added {
		g.mean += float64(a)
	}
	g.mean /= g.n
	for _, a := range added {
		g.sd += (float64(a) - g.mean) * (float64(a) - g.mean)
	}
	g.sd = math.Sqrt(g.sd / (g.n - 1))
	doubt := g.quantil * g.sd / math.Sqrt(g.n)
	f := &Forecast{
		Days: len(added), PerDay: int64(g.mean), Low: int64(max(g.mean-doubt, 0)), High: int64(g.mean + doubt),
		Capacity: capacity, Points: []Point{},
	}
	for _, h := range horizons {
		f.Points = append(f.Points, g.point(h, today))
	}
	if capacity > 0 {
		f.Full = &Full{
			Days:     g.full(capacity, func(h float64) float64 { return g.now + g.mean*h }),
			Earliest: g.full(capacity, func(h float64) float64 { return g.now + g.mean*h + g.doubt(h) }),
			Latest:   g.full(capacity, func(h float64) float64 { return g.now + g.mean*h - g.doubt(h) }),
		}
	}
	return f
}

func (g *growth) point(h int, today time.Time) Point {
	mid, wide := g.now+g.mean*float64(h), g.doubt(float64(h))
	return Point{
		After: h, Date: today.AddDate(0, 0, h).Format(time.DateOnly),
		Bytes: int64(mid), Low: int64(max(mid-wide, g.now)), High: int64(mid + wide),
	}
}

// doubt is half of the width of what the size after h days will be.
func (g *growth) doubt(h float64) float64 {
	return g.quantil * g.sd * math.Sqrt(h+h*h/g.n)
}

// full returns the first day on which size reaches the capacity. For large h all
// three sizes are straight lines, which reach it once or never.
func (g *growth) full(capacity int64, size func(h float64) float64) *int {
	for h := 0; h <= farthestDays; h++ {
		if size(float64(h)) >= float64(capacity) {
			return &h
		}
	}
	return nil
}

// student95 is the 95 % quantile of Student's t with so many degrees of freedom, to a
// part in a thousand from 4 on (Abramowitz and Stegun, 26.7.5).
func student95(freedom int) float64 {
	const z = 1.6448536269514722
	v := float64(freedom)
	z2 := z * z
	return z +
		z*(z2+1)/(4*v) +
		z*((5*z2+16)*z2+3)/(96*v*v) +
		z*(((3*z2+19)*z2+17)*z2-15)/(384*v*v*v) +
		z*((((79*z2+776)*z2+1482)*z2-1920)*z2-945)/(92160*v*v*v*v)
}
