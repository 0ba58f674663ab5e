package sample

import (
	"math"
	"testing"
)

func TestSample(t *testing.T) {
	if m := (Sample{5, 1, 3}).Median(); m != 3 {
		t.Errorf("median %v", m)
	}
	if m := (Sample{4, 1, 3, 2}).Median(); m != 2.5 {
		t.Errorf("median of four %v", m)
	}
	if !math.IsNaN(Sample(nil).Median()) {
		t.Error("nothing has a median")
	}
	for want, s := range map[string]Sample{"–": nil, "2.0": {2, 2.01}, "3 (1–5)": {5, 1, 3}} {
		format := "%.0f"
		if want == "2.0" {
			format = "%.1f"
		}
		if got := s.Format(format); got != want {
			t.Errorf("%v is written %q, want %q", s, got, want)
		}
	}
	ratio := Sample{6, 8, 1}.Over(Sample{3, 2})
	if len(ratio) != 2 || ratio[0] != 2 || ratio[1] != 4 {
		t.Errorf("ratio %v", ratio)
	}
}
