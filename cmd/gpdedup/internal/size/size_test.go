package size

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 1536: "1.50 KiB", 10 << 10: "10.0 KiB", 100 << 10: "100 KiB",
		1<<20 - 1: "1.00 MiB", 1 << 20: "1.00 MiB", 5 << 30: "5.00 GiB", 3 << 40: "3.00 TiB", -2048: "-2.00 KiB",
		math.MaxInt64: "8.00 EiB", math.MinInt64: "-8.00 EiB",
	} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "65536": 65536, "64KiB": 65536, "64kib": 65536, "64 KiB": 65536, "64K": 64000, "64kB": 64000, "64M": 64e6,
		"64MB": 64e6, "64MiB": 64 << 20, "1.5GiB": 3 << 29, "0.5k": 500, "10GB": 10e9, "2TiB": 2 << 40, " 7 ": 7, "7B": 7,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := Parse(s); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", " ", "k", "-1", "+1", "1e3", "0x10", "64Kb64", "64 K iB", "1.2.3", ".", "1.5", "1.0001k", "1,5M", "9223372036854775808",
		"9223372036854775807k", "1e30GB", "99999999999TiB", "12parsecs", "١",
	} {
		if got, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) = %d, want an error", s, got)
		}
	}
}

// Format is exact to half a unit of its last digit.
func TestFormatIsClose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<52).Draw(t, "n")
		text := Format(n)
		var v float64
		for unit, factor := range map[string]float64{" B": 1, " KiB": 1 << 10, " MiB": 1 << 20, " GiB": 1 << 30, " TiB": 1 << 40, " PiB": 1 << 50} {
			if number, ok := cutUnit(text, unit); ok {
				v = number * factor
			}
		}
		if math.Abs(v-float64(n)) > 0.006*float64(n) {
			t.Fatalf("Format(%d) = %q", n, text)
		}
	})
}

func cutUnit(text, unit string) (float64, bool) {
	number, ok := strings.CutSuffix(text, unit)
	v, err := strconv.ParseFloat(number, 64)
	return v, ok && err == nil
}
