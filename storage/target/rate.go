package target

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// rateUnits are the factors of what may follow a number; a bare letter is the
// decimal unit, as everywhere in the program.
var rateUnits = map[string]float64{
	"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
}

// ParseRate reads bytes per second as users write them: 20MB, 20MiB/s, 1.5G.
func ParseRate(text string) (int64, error) {
	number := strings.ToLower(strings.TrimSpace(text))
	number = strings.TrimSuffix(strings.TrimSuffix(number, "/s"), " ")
	end := strings.IndexFunc(number, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(number)
	}
	factor, known := rateUnits[strings.TrimSpace(number[end:])]
	v, err := strconv.ParseFloat(number[:end], 64)
	if v *= factor; !known || err != nil || v < 1 || v >= math.MaxInt64 {
		return 0, fmt.Errorf("rate %q: want bytes per second, such as 20MB or 20MiB", text)
	}
	return int64(v), nil
}
