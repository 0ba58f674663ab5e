package plugin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

func TestParseOffsets(t *testing.T) {
	for _, x := range []struct {
		text string
		want []repo.Range
	}{
		{"1 3 10", []repo.Range{{Start: 3, End: 10}}},
		{"0", []repo.Range{}},
		{"3 900 910 0 0 5 20\n", []repo.Range{{Start: 900, End: 910}, {}, {Start: 5, End: 20}}},
		{"1 9223372036854775806 9223372036854775807", []repo.Range{{Start: 1<<63 - 2, End: 1<<63 - 1}}},
	} {
		got, err := parseOffsets(x.text)
		if err != nil || got == nil || !slices.Equal(got, x.want) {
			t.Errorf("%q: %v, %v", x.text, got, err)
		}
	}
	for _, bad := range []string{
		"", " \n", "1", "1 2", "2 1 2", "1 1 2 3 4", "1 1 2 3", "x", "1 a 2", "1 -1 2", "1 +1 2", "1 2 1", "-1",
		"1 1 9223372036854775808", "1 0x1 2", "18446744073709551615", "1,1,2",
	} {
		if got, err := parseOffsets(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzParseOffsets(f *testing.F) {
	f.Add("1 3 10")
	f.Add("2 0 700000 900000 900001")
	f.Fuzz(func(t *testing.T, text string) {
		ranges, err := parseOffsets(text)
		if err != nil {
			return
		}
		b := &strings.Builder{}
		fmt.Fprint(b, len(ranges))
		for _, r := range ranges {
			if r.Start > r.End {
				t.Fatalf("%q: %v", text, r)
			}
			fmt.Fprint(b, " ", r.Start, " ", r.End)
		}
		again, err := parseOffsets(b.String())
		if err != nil || !slices.Equal(again, ranges) {
			t.Fatalf("%q is not %q: %v", b.String(), text, err)
		}
	})
}
