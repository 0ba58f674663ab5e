package screen

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func testProgress(done, total int64) *progress {
	p := &progress{label: "reading", total: total, format: func(n int64) string { return strconv.FormatInt(n, 10) }}
	p.done.Store(done)
	return p
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		width       int
		want        string
	}{
		{50, 0, 80, "reading: 50, 5/s"},
		{50, 0, 0, "reading: 50, 5/s"},
		{50, 200, 0, "reading: 25%  50 of 200, 5/s, 30s left"},
		{50, 200, 60, "reading [====             ]  25%  50 of 200, 5/s, 30s left"},
		{50, 200, 30, "reading: 25%  50 of 200, 5/s,"},
		{0, 200, 0, "reading: 0%  0 of 200, 0/s"},
		{200, 200, 0, "reading: 100%  200 of 200, 20/s, 0s left"},
		{300, 200, 0, "reading: 100%  300 of 200, 30/s, 0s left"}, // a file that grew
	} {
		if got := testProgress(c.done, c.total).line(10*time.Second, c.width); got != c.want {
			t.Errorf("%d of %d in %d columns:\n got %q\nwant %q", c.done, c.total, c.width, got, c.want)
		}
	}
}

// A line that reached the last column could not be wiped off again.
func TestLineFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testProgress(rapid.Int64Range(0, 1<<50).Draw(t, "done"), rapid.Int64Range(0, 1<<50).Draw(t, "total"))
		p.label = strings.Repeat("ä", rapid.IntRange(0, 100).Draw(t, "label"))
		width := rapid.IntRange(2, 200).Draw(t, "width")
		line := p.line(time.Duration(rapid.Int64Range(1e9, 1e15).Draw(t, "elapsed")), width)
		if n := len([]rune(line)); n >= width {
			t.Fatalf("%d columns of %d: %q", n, width, line)
		}
	})
}
