package index

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAbsorb(t *testing.T) {
	for _, test := range []struct {
		sizes []uint64
		fresh uint64
		max   int
		want  int
	}{
		{nil, 0, 4, 0},
		{nil, 100, 4, 0},
		{[]uint64{100}, 0, 4, 0},
		{[]uint64{100}, 100, 4, 1},
		{[]uint64{100}, 10, 4, 0},                 // ratio 2.2
		{[]uint64{100, 200, 5000}, 100, 4, 2},     // 200 <= 3.7 * 200
		{[]uint64{10, 100, 1000, 10000}, 1, 4, 4}, // 10 <= 21.5, 100 <= 21.5 * 11, ...
		{[]uint64{500, 50000, 5000000}, 100, 4, 1},
		{[]uint64{1, 2, 3}, 1, 1, 3},
		{[]uint64{1, 2, 3, 4, 5, 6}, 0, 4, 3}, // too many: left by another setting
	} {
		got := absorb(test.sizes, test.fresh, test.max)
		if got != test.want {
			t.Errorf("absorb(%v) = %d", test, got)
		}
	}
}

// TestMergeCost follows the generations through many refreshes and counts how often
// an entry is rewritten. It must stay a small number: not as it would be if each
// refresh rewrote a generation that is large beside what is new.
func TestMergeCost(t *testing.T) {
	for _, test := range []struct {
		start, fresh uint64
		refreshes    int
		most         float64
	}{
		{0, 1000, 10_000, 60},
		{10_000_000, 100, 10_000, 200},
		{10_000_000, 10_000, 2_000, 50},
		{10_000_000, 1_000_000, 50, 12},
		{50_000_000, 50_000, 1_000, 50},
	} {
		t.Run(fmt.Sprint(test.start, "+", test.fresh), func(t *testing.T) {
			var sizes []uint64
			if test.start > 0 {
				sizes = []uint64{test.start}
			}
			var written uint64
			for range test.refreshes {
				n := absorb(sizes, test.fresh, 4)
				merged := test.fresh
				for _, s := range sizes[:n] {
					merged += s
				}
				written += merged
				sizes = append(sizes[n:], merged)
				slices.Sort(sizes)
				if len(sizes) > 4 {
					t.Fatalf("%d generations", len(sizes))
				}
			}
			if per := float64(written) / float64(test.fresh) / float64(test.refreshes); per > test.most {
				t.Errorf("%.1f entries written for a new one, at most %.0f wanted; now %v", per, test.most, sizes)
			} else {
				t.Logf("%.1f written for a new one; now %v", per, sizes)
			}
		})
	}
}

func TestAbsorbLeavesFewEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Uint64Range(0, 1<<30), 0, 12).Draw(t, "sizes")
		slices.Sort(sizes)
		fresh := rapid.Uint64Range(1, 1<<30).Draw(t, "fresh")
		maxGens := rapid.IntRange(1, 6).Draw(t, "max")
		n := absorb(sizes, fresh, maxGens)
		if n < 0 || n > len(sizes) || len(sizes)-n+1 > maxGens {
			t.Fatalf("absorb(%v, %d, %d) = %d", sizes, fresh, maxGens, n)
		}
	})
}
