// Package size writes and reads numbers of bytes the way people do.
package size

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Format returns n bytes with three or four digits and a binary unit: 0 B, 1.00 KiB,
// 12.3 MiB, 1023 GiB.
func Format(n int64) string {
	if n < 0 {
		if n == math.MinInt64 {
			n++
		}
		return "-" + Format(-n)
	}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		v /= 1024
		switch {
		case v < 9.995:
			return fmt.Sprintf("%.2f %s", v, unit)
		case v < 99.95:
			return fmt.Sprintf("%.1f %s", v, unit)
		case v < 1023.5 || unit == "EiB":
			return fmt.Sprintf("%.0f %s", v, unit)
		}
	}
	panic("unreachable")
}

// units are the factors of what may follow a number. As everywhere else in the
// program a bare letter is the decimal unit.
var units = map[string]float64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12, "p": 1e15, "pb": 1e15,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "pib": 1 << 50,
}

// Parse reads what users write: 65536, 64KiB (1024 each), 64MB or 64M (1,000,000
// each), 1.5GiB. Case and space before the unit do not matter.
func Parse(s string) (int64, error) {
	text := strings.TrimSpace(s)
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.') {
		end++
	}
	factor, known := units[strings.ToLower(strings.TrimSpace(text[end:]))]
	if !known || end == 0 {
		return 0, fmt.Errorf("size %q: want a number and a unit such as 256KiB, 64MB, 64M or 1GiB", s)
	}
	if n, err := strconv.ParseInt(text[:end], 10, 64); err == nil {
		if n > math.MaxInt64/int64(factor) {
			return 0, fmt.Errorf("size %q is too large", s)
		}
		return n * int64(factor), nil
	}
	v, err := strconv.ParseFloat(text[:end], 64)
	if err != nil {
		return 0, fmt.Errorf("size %q: %q is no number", s, text[:end])
	}
	if v *= factor; v >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q is too large", s)
	}
	if v != math.Trunc(v) {
		return 0, fmt.Errorf("size %q is not a whole number of bytes", s)
	}
	return int64(v), nil
}
