package report

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestForecast: known growth is found, and of many made-up repositories as many end
// within the range as it says.
func TestForecast(t *testing.T) {
	t.Parallel()
	today := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	if f := forecast([]int64{1, 2, 3, 4}, 10, 0, today); f != nil {
		t.Errorf("of four days: %+v", f)
	}
	f := forecast([]int64{100, 100, 100, 100, 100, 100}, 1000, 2000, today)
	if f.PerDay != 100 || f.Low != 100 || f.High != 100 || *f.Full.Days != 10 || *f.Full.Earliest != 10 || *f.Full.Latest != 10 {
		t.Errorf("of days alike: %+v, full in %d", f, *f.Full.Days)
	}
	if p := f.Points[0]; p.After != 30 || p.Bytes != 4000 || p.Date != "2026-12-22" {
		t.Errorf("in 30 days: %+v", p)
	}
	if f = forecast(make([]int64, 9), 1000, 2000, today); f.Full.Days != nil || f.Full.Latest != nil || f.Points[3].Bytes != 1000 {
		t.Errorf("of nothing: %+v", f)
	}
	if f = forecast(make([]int64, 9), 3000, 2000, today); *f.Full.Days != 0 || *f.Full.Latest != 0 {
		t.Errorf("of what is full: %+v", f)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	day := func() int64 { return int64(1000 * (1 + rng.ExpFloat64())) }
	for _, n := range []int{7, 30, 200} {
		within, full, tries := 0, 0, 4000
		for range tries {
			added := make([]int64, n)
			for i := range added {
				added[i] = day()
			}
			f := forecast(added, 0, 60_000, today)
			size, days := int64(0), 0
			for h := 1; h <= 90; h++ {
				if size += day(); days == 0 && size >= 60_000 {
					days = h
				}
			}
			if p := f.Points[1]; size >= p.Low && size <= p.High {
				within++
			}
			if *f.Full.Earliest <= days && (f.Full.Latest == nil || days <= *f.Full.Latest) {
				full++
			}
		}
		// Days are no normal distribution, so it is not 90 to the percent.
		for what, got := range map[string]int{"size": within, "day": full} {
			if p := float64(got) / float64(tries); math.Abs(p-0.90) > 0.03+0.3/float64(n) {
				t.Errorf("of %d days: the %s lay within the range %.1f %% of the time", n, what, 100*p)
			}
		}
	}
}

// TestStudent compares with the tables.
func TestStudent(t *testing.T) {
	t.Parallel()
	for freedom, want := range map[int]float64{4: 2.1318, 5: 2.0150, 10: 1.8125, 30: 1.6973, 59: 1.6711} {
		if got := student95(freedom); math.Abs(got-want) > 0.002 {
			t.Errorf("student95(%d) = %.4f, want %.4f", freedom, got, want)
		}
	}
}

func TestByteAxis(t *testing.T) {
	t.Parallel()
	for highest, want := range map[float64]string{0: "1 B", 1: "1 B", 1023: "1 KiB", 5 << 20: "6 MiB", 900 << 30: "1 TiB", 1200 << 30: "1.5 TiB", 1 << 60: "1 EiB"} {
		c := newChart("x", "", "")
		a := c.bytesAxis(highest)
		if last := c.YTicks[len(c.YTicks)-1]; last.Label != want && highest < 1<<50 || a.high < highest {
			t.Errorf("up to %.0f: the axis ends with %s (%.0f), want %s", highest, last.Label, a.high, want)
		}
	}
}
