package tablegen

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func text(t *testing.T, table *Table) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := table.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo = %d, %v; wrote %d", n, err, b.Len())
	}
	return b.Bytes()
}

// lines is a table's rows by key, and the keys in the order they come.
func lines(t *testing.T, table *Table) (map[string]string, []string) {
	t.Helper()
	rows := map[string]string{}
	var keys []string
	for line := range strings.Lines(string(text(t, table))) {
		key, _, _ := strings.Cut(line, ",")
		if rows[key] != "" {
			t.Fatalf("key %s comes twice", key)
		}
		rows[key] = line
		keys = append(keys, key)
	}
	return rows, keys
}

// TestGolden holds the text of three days of each kind fast: figures measured with it stay comparable.
func TestGolden(t *testing.T) {
	for _, test := range []struct {
		kind Kind
		want string
	}{
		{Heap, "a3761da7735f06619d050b09f719e37b1f6557e98538cb3ba4c5d9fcd79a2475"},
		{AppendOnly, "44d436d8a6cf74dcc878f2bc9e2d90c1e924498df3470ec91041260f9eff9ef2"},
		{Small, "d651a68fb059b18692af56f4a6ebfcf030f25510d8099ad15f829e87b005aa71"},
	} {
		sum := sha256.New()
		table := New(test.kind, 42, 20_000)
		for range 3 {
			if _, err := table.WriteTo(sum); err != nil {
				t.Fatal(err)
			}
			table.NextDay(Daily(test.kind))
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != test.want {
			t.Errorf("kind %d: %s, want %s", test.kind, got, test.want)
		}
	}
}

func TestSeedsAndKindsDiffer(t *testing.T) {
	a, b := text(t, New(Heap, 1, 1000)), text(t, New(Heap, 2, 1000))
	if bytes.Equal(a, b) {
		t.Error("two seeds give one table")
	}
	if !bytes.Equal(a, text(t, New(Heap, 1, 1000))) {
		t.Error("one seed gives two tables")
	}
}

func TestBytesPerRow(t *testing.T) {
	for _, test := range []struct {
		kind     Kind
		from, to int
	}{
		{Heap, 150, 160},
		{AppendOnly, 125, 140},
		{Small, 50, 70},
	} {
		const rows = 100_000
		size := len(text(t, New(test.kind, 7, rows)))
		if size < rows*test.from || size > rows*test.to {
			t.Errorf("kind %d: %.1f bytes a row, want %d to %d", test.kind, float64(size)/rows, test.from, test.to)
		}
	}
}

// TestRowsAreCSV: every row has as many fields as the others, and a CSV reader takes them.
func TestRowsAreCSV(t *testing.T) {
	for kind, fields := range map[Kind]int{Heap: 12, AppendOnly: 10, Small: 6} {
		table := New(kind, 3, 5000)
		table.NextDay(Daily(kind))
		r := csv.NewReader(bytes.NewReader(text(t, table)))
		r.FieldsPerRecord = fields
		all, err := r.ReadAll()
		if err != nil || len(all) != table.Rows() {
			t.Errorf("kind %d: %d rows of %d, %v", kind, len(all), table.Rows(), err)
		}
	}
}

// TestHeapDay: a day changes the share of rows that was asked for, and NextDay says so truly.
func TestHeapDay(t *testing.T) {
	table := New(Heap, 5, 100_000)
	for day := range 4 {
		before, _ := lines(t, table)
		moved := table.NextDay(Daily(Heap))
		after, _ := lines(t, table)
		updated, deleted, inserted := 0, 0, 0
		for key, row := range before {
			if now := after[key]; now == "" {
				deleted++
			} else if now != row {
				updated++
			}
		}
		for key := range after {
			if before[key] == "" {
				inserted++
			}
		}
		if got := (Moved{updated, moved.InPage, moved.Elsewhere, moved.AtEnd, inserted, deleted}); got != moved {
			t.Errorf("day %d: found %+v, said %+v", day, got, moved)
		}
		if moved.InPage+moved.Elsewhere+moved.AtEnd != moved.Updated {
			t.Errorf("day %d: %+v does not add up", day, moved)
		}
		near := func(what string, got int, share float64) {
			want := share * float64(len(before))
			if math.Abs(float64(got)-want) > 4*math.Sqrt(want)+1 {
				t.Errorf("day %d: %d rows %s, want about %.0f", day, got, what, want)
			}
		}
		near("updated", updated, 0.013)
		near("inserted", inserted, 0.003)
		near("deleted", deleted, 0.001)
		if share := float64(moved.InPage) / float64(updated); share < 0.4 || share > 0.7 {
			t.Errorf("day %d: %.2f of the updated rows stay in their page", day, share)
		}
		if table.Rows() != len(after) || table.Day() != day+1 {
			t.Errorf("day %d: Rows %d, Day %d; have %d rows", day, table.Rows(), table.Day(), len(after))
		}
	}
}

// TestUpdatesMoveRows: rows that nothing happened to keep their order, and rows that changed are all over the table.
func TestUpdatesMoveRows(t *testing.T) {
	table := New(Heap, 6, 50_000)
	before, order := lines(t, table)
	table.NextDay(Change{Updates: 0.02, Scatter: 1})
	after, now := lines(t, table)
	changed := func(key string) bool { return before[key] != after[key] }
	var kept [2][]string
	for i, keys := range [][]string{order, now} {
		for _, key := range keys {
			if !changed(key) {
				kept[i] = append(kept[i], key)
			}
		}
	}
	if !slices.Equal(kept[0], kept[1]) {
		t.Error("rows that did not change have moved")
	}
	tenths := [10]int{}
	for i, key := range order {
		if changed(key) {
			tenths[i*10/len(order)]++
		}
	}
	for i, n := range tenths {
		if n < 60 || n > 140 {
			t.Errorf("tenth %d of the table has %d of 1000 changes: %v", i, n, tenths)
		}
	}
}

// TestScatterNone: without scatter only the newest tenth changes, and just as many rows of it.
func TestScatterNone(t *testing.T) {
	table := New(Heap, 6, 50_000)
	before, order := lines(t, table)
	moved := table.NextDay(Change{Updates: 0.02, Scatter: 0})
	after, _ := lines(t, table)
	if moved.Updated < 850 || moved.Updated > 1150 {
		t.Errorf("%d rows updated, want about 1000", moved.Updated)
	}
	for _, key := range order[:len(order)*9/10] {
		if before[key] != after[key] {
			t.Fatalf("row %s is old and has changed", key)
		}
	}
}

func TestAppendOnlyOnlyGrows(t *testing.T) {
	table := New(AppendOnly, 8, 10_000)
	for range 3 {
		before := text(t, table)
		moved := table.NextDay(Change{Updates: 0.5, Deletes: 0.5, Inserts: 0.02})
		after := text(t, table)
		if !bytes.HasPrefix(after, before) {
			t.Error("a row that was there has changed")
		}
		if moved.Inserted < 190 || moved.Updated != 0 || moved.Deleted != 0 {
			t.Errorf("moved %+v", moved)
		}
	}
}

func TestMany(t *testing.T) {
	tables := Many(9, 200)
	empty, rows := 0, 0
	for _, table := range tables {
		if table.Rows() == 0 {
			empty++
			if len(text(t, table)) != 0 {
				t.Error("an empty table has text")
			}
		}
		table.NextDay(Daily(Small))
		rows += table.Rows()
	}
	if empty < 10 || empty > 45 || rows < 5000 || rows > 40_000 {
		t.Errorf("%d of 200 tables are empty, %d rows in all", empty, rows)
	}
}

// TestEmptied: a table may lose all its rows and live on.
func TestEmptied(t *testing.T) {
	table := New(Heap, 10, 500)
	if moved := table.NextDay(Change{Deletes: 1, Scatter: 1}); moved.Deleted != 500 || table.Rows() != 0 {
		t.Fatalf("%+v, %d rows left", moved, table.Rows())
	}
	table.NextDay(Daily(Heap))
	if got := text(t, table); len(got) > 200 {
		t.Errorf("%d bytes of text in an empty table", len(got))
	}
}

// TestTimestamps compares the calendar with that of package time.
func TestTimestamps(t *testing.T) {
	r := random{1}
	for range 20_000 {
		seconds, micros := int64(r.below(8_000_000_000)), r.below(1_000_000)
		want := time.Unix(seconds, int64(micros)*1000).UTC().Format("2006-01-02 15:04:05.999999")
		if got := string(appendTimestamp(nil, seconds, micros)); got != want {
			t.Fatalf("appendTimestamp(%d, %d) = %s, want %s", seconds, micros, got, want)
		}
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	table := New(Heap, 1, 10_000)
	for after := range 3 {
		if _, err := table.WriteTo(&failing{after}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after %d writes: %v", after, err)
		}
	}
}

func BenchmarkWriteTo(b *testing.B) {
	for kind, name := range map[Kind]string{Heap: "heap", AppendOnly: "append", Small: "small"} {
		b.Run(name, func(b *testing.B) {
			table := New(kind, 1, 100_000)
			n, _ := table.WriteTo(io.Discard)
			b.SetBytes(n)
			for b.Loop() {
				_, _ = table.WriteTo(io.Discard)
			}
		})
	}
}

func BenchmarkNextDay(b *testing.B) {
	table := New(Heap, 1, 1_000_000)
	for b.Loop() {
		table.NextDay(Daily(Heap))
	}
}

func Example() {
	table := New(Heap, 1, 3)
	var b strings.Builder
	_, _ = table.WriteTo(&b)
	fmt.Print(b.String())
	// Output:
	// 1,453324,app,2023-01-01 00:00:24,carla.schmidt278@a.example,"white, glass kettle",53cb9f0c747ea2ea4532e1,returned,3,98.70,,2023-01-01 00:00:24.396467
	// 2,209004,phone,2023-01-01 00:00:40,henry.keller229@example.net,blue steel cushion,6f9e7461a8fd46e74f40b0,shipped,2,154.82,old customer,2023-01-01 00:00:40.653143
	// 3,317411,phone,2023-01-01 00:01:02,paul.lopez432@example.org,blue cotton ladder,d467097f2248f99cc1b6c2,new,1,34.94,express,2023-01-01 00:01:02.804701
}
