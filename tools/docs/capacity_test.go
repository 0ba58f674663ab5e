package docs_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/operations.md anew")

// ratios are what the estimate goes by; docs/operations.md states them.
type ratios struct {
	stored float64 // of the text, by the first backup
	update float64 // of what is stored, for each row that was updated, by their shares
}

// retained is what a backup adds to a repository that keeps others: for each, how many
// days lie between it and the one before.
type retained struct {
	name string
	gaps map[int]int // days to how many
}

// size is the repository, as a multiple of the text.
func (r ratios) size(changes float64, kept retained) float64 {
	sum := 1.0
	for days, n := range kept.gaps {
		sum += float64(n) * min(1, r.update*(1-math.Pow(1-changes, float64(days))))
	}
	return r.stored * sum
}

const (
	tb      = 1e12
	mebi    = 1 << 20
	packed  = 24 * mebi // a pack
	streams = 1000      // for each TB
)

// requests are those of a day's backup.
func (r ratios) requests(text, changes float64) (put, list, get float64) {
	n := text / tb * streams
	whole := text * r.stored
	put = math.Ceil(whole*min(1, r.update*changes)/n/packed)*n + 2*n
	return put, 3 * n, 4*n + whole/packed
}

func (r ratios) table() string {
	policies := []retained{
		{"7 days", map[int]int{1: 6}},
		{"30 days", map[int]int{1: 29}},
		{"GFS", map[int]int{1: 6, 7: 5, 30: 12}},
	}
	var b strings.Builder
	b.WriteString("| text | changes a day |")
	for _, p := range policies {
		fmt.Fprintf(&b, " %s |", p.name)
	}
	b.WriteString(" PUT a day | LIST | GET |\n|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, text := range []float64{1, 10, 50} {
		for _, changes := range []float64{0.002, 0.01, 0.05} {
			fmt.Fprintf(&b, "| %g TB | %.1f %% |", text, changes*100)
			for _, p := range policies {
				fmt.Fprintf(&b, " %.3g TB |", text*r.size(changes, p))
			}
			put, list, get := r.requests(text*tb, changes)
			fmt.Fprintf(&b, " %.0f | %.0f | %.0f |\n", put, list, math.Round(get/100)*100)
		}
	}
	return b.String()
}

// The table is what the formula makes of the ratios that stand beside it, and these are
// near what was measured.
func TestCapacity(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root, "docs", "operations.md")
	page := read(t, path)
	r := ratios{stored: stated(t, page, "stored") / 100, update: stated(t, page, "update")}
	before, rest, begins := strings.Cut(page, "<!-- capacity:begin -->\n")
	table, after, ends := strings.Cut(rest, "<!-- capacity:end -->")
	if !begins || !ends {
		t.Fatal("docs/operations.md has no place for the table")
	}
	if table != r.table() {
		if !*update {
			t.Fatalf("docs/operations.md has another table than its ratios make; go test ./tools/docs -run Capacity -update writes\n%s", r.table())
		}
		page = before + "<!-- capacity:begin -->\n" + r.table() + "<!-- capacity:end -->" + after
		if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// bench/days: a table of 235 MB, of which 1.3 % of the rows are updated every day.
	measured := read(t, filepath.Join(root, "docs", "performance.md"))
	first := number(t, measured, `\| the first day stores \| ([0-9.]+) MB`)
	near(t, "stored", r.stored, first/235)
	days := number(t, measured, `\| 30 days in all \| ([0-9.]+) ×`)
	near(t, "update", r.update, (days-1)/29/0.013)
	near(t, "append", stated(t, page, "append"), number(t, measured, `grows by 2 % a day: the second day adds ([0-9.]+) % of the first`)/2)
}

// near fails where a ratio is a tenth away from what was measured.
func near(t *testing.T, name string, stated, measured float64) {
	t.Helper()
	if math.Abs(stated-measured) > measured/10 {
		t.Errorf("docs/operations.md goes by %s %.3g; docs/performance.md has %.3g", name, stated, measured)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stated returns a ratio that the page marks with a comment.
func stated(t *testing.T, page, name string) float64 {
	t.Helper()
	return number(t, page, "<!-- "+name+" -->([0-9.]+)<!-- -->")
}

func number(t *testing.T, text, pattern string) float64 {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("nothing is like %s", pattern)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
