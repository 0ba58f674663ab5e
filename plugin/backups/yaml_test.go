package backups

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestParseFile(t *testing.T) {
	const ts = "99684923394650" // not a date
	for name, want := range map[string]File{
		"gpbackup_" + ts + "_config.yaml":            {ConfigFile, -1, 0, ""},
		"gpbackup_" + ts + "_toc.yaml":               {TOCFile, -1, 0, ""},
		"gpbackup_" + ts + "_metadata.sql":           {MetadataFile, -1, 0, ""},
		"gpbackup_" + ts + "_statistics.sql":         {StatisticsFile, -1, 0, ""},
		"gpbackup_" + ts + "_report":                 {ReportFile, -1, 0, ""},
		"gpbackup_" + ts + "_plugin_config.yaml":     {PluginConfigFile, -1, 0, ""},
		"gpbackup_0_" + ts + "_toc.yaml":             {SegmentTOCFile, 0, 0, ""},
		"gpbackup_12_" + ts + "_16402.gz":            {TableData, 12, 16402, ".gz"},
		"gpbackup_0_" + ts + "_4294967295":           {TableData, 0, 4294967295, ""},
		"gpbackup_3_" + ts + ".zst":                  {SegmentData, 3, 0, ".zst"},
		"gpbackup_3_" + ts:                           {SegmentData, 3, 0, ""},
		"gpbackup_3_" + ts + "_4294967296":           {Other, -1, 0, ""},
		"gpbackup_03_" + ts + "_1":                   {Other, -1, 0, ""},
		"gpbackup_3_" + ts + "_01":                   {Other, -1, 0, ""},
		"gpbackup_-1_" + ts + "_1":                   {Other, -1, 0, ""},
		"gpbackup_0_" + ts + "_toc.yaml.gz":          {Other, -1, 0, ""},
		"gpbackup_" + ts + "_config.yaml.gz":         {Other, -1, 0, ""},
		"gpbackup_0_99684923394651_1":                {Other, -1, 0, ""},
		"gpbackup_99684923394651_config.yaml":        {Other, -1, 0, ""},
		"testdata_" + ts + ".txt":                    {Other, -1, 0, ""},
		"gprestore_" + ts + "_20240101000000_report": {Other, -1, 0, ""},
	} {
		got := ParseFile(ts, name)
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if got.Kind != Other && got.Name(ts) != name {
			t.Errorf("%s: its name comes back as %s", name, got.Name(ts))
		}
	}
	for s, want := range map[string]bool{ts: true, "2024010100000": false, "202401010000000": false, "2024010100000a": false, "20240101000000\n": false, "": false} {
		if ValidTimestamp(s) != want {
			t.Errorf("ValidTimestamp(%q) = %t", s, !want)
		}
	}
}

func TestReadConfig(t *testing.T) {
	b := backup{ts: "20240102000000", oids: []int{101, 102, 103}, ext: ".zst", plan: []string{"20240101000000"}, sdf: true, stats: true}
	got, err := ReadConfig(strings.NewReader(b.config("gpdedup", "1.2.3")))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		BackupVersion: "1.30.5", Compressed: true, CompressionType: "zstd", DatabaseName: "it's: odd", DatabaseVersion: "6.25.3 build",
		SegmentCount: 2, Incremental: true, Plugin: "gpdedup", PluginVersion: "1.2.3", SingleDataFile: true, Timestamp: b.ts,
		WithStatistics: true, Status: "Success", Plan: []PlanEntry{{"20240101000000", 0}, {b.ts, 6}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if a := got.Ancestors(b.ts); !reflect.DeepEqual(a, []string{"20240101000000"}) {
		t.Errorf("ancestors %v", a)
	}
}

// Whatever form the values have, they are read as the library reads the whole.
func TestReadConfigForms(t *testing.T) {
	for _, text := range []string{
		"status: Success\nrestoreplan: []\n",
		"---\nstatus: Success\n",
		"# made by hand\nstatus: \"Success\" # yes\n\nrestoreplan:\n    - timestamp: \"20240101000000\"\n      tablefqns: [a.b, \"c.d\"]\n",
		"restoreplan:\n- timestamp: 20240101000000\n  tablefqns:\n  - a.b\n  - |\n    c\n    d\n- tablefqns: []\n  timestamp: '20240102000000'\nstatus: Success\n",
		"restoreplan: [{timestamp: '20240101000000', tablefqns: [a.b]}]\nstatus: Success",
		"databasename: >-\n  many\n  words\nstatus: Success\n",
		"\"status\": Success\nunknown: {a: [1, 2]}\nanother: |\n  status: Failure\n  restoreplan:\n",
		"status: Success\nrestoreplan:\nsegmentcount: 3\n",
		"status: Success\r\nsegmentcount: 3\r\n",
	} {
		got, err := ReadConfig(strings.NewReader(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var want struct {
			Config `yaml:",inline"`
			Plan   []struct {
				Timestamp string
				TableFQNs []string
			} `yaml:"restoreplan"`
		}
		if err := yaml.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		for _, e := range want.Plan {
			want.Config.Plan = append(want.Config.Plan, PlanEntry{e.Timestamp, len(e.TableFQNs)})
		}
		if !reflect.DeepEqual(got, &want.Config) {
			t.Errorf("%q:\ngot  %+v\nwant %+v", text, got, want.Config)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, text := range []string{
		"{status: Success}", "- a\n- b\nstatus Success\n", "status: [", "status: Success\n---\nstatus: Failure\n",
		"segmentcount: -1\n", "segmentcount: 2000000000\n", "segmentcount: many\n", "status: Success\nstatus: Failure\n",
		"restoreplan:\n- timestamp: yesterday\n", "restoreplan:\n- {}\n", "restoreplan: 7\n", "\x00\x01", "status: *a\n",
		"databasename: " + strings.Repeat("x", maxLine+100<<10) + "\n",
	} {
		if _, err := ReadConfig(strings.NewReader(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("config %.40q: %v", text, err)
		}
	}
	for _, text := range []string{
		"dataentries: 7\n", "dataentries:\n- name: x\n", "dataentries:\n- oid: -5\n", "dataentries:\n- oid: 99999999999\n",
		"dataentries:\n  a: b\n", "dataentries: [\n", "dataentries:\n- oid: 1\n---\n- oid: 2\n",
		"dataentries:\n- oid: 1\n  name: |\n" + strings.Repeat("   a\n", maxItem/4),
	} {
		if err := ReadTOC(strings.NewReader(text), func(TableEntry) error { return nil }); !errors.Is(err, ErrMalformed) {
			t.Errorf("toc %.40q: %v", text, err)
		}
	}
	for _, text := range []string{"dataentries:\n- a\n", "dataentries:\n  1: {startbyte: 5, endbyte: 4}\n", "dataentries:\n  x: {}\n"} {
		if err := ReadSegmentTOC(strings.NewReader(text), func(uint32, SegmentEntry) error { return nil }); !errors.Is(err, ErrMalformed) {
			t.Errorf("segment toc %.40q: %v", text, err)
		}
	}
}

// Entries are the same however they fall into batches.
func TestReadTOCLarge(t *testing.T) {
	var oids []int
	for i := range 3000 {
		oids = append(oids, 16384+i)
	}
	i := 0
	err := ReadTOC(strings.NewReader(backup{oids: oids}.toc()), func(e TableEntry) error {
		if want := (TableEntry{"public", fmt.Sprintf("t%d", oids[i]), uint32(oids[i]), 7, oids[i]%3 == 0}); e != want {
			return fmt.Errorf("entry %d: %+v, want %+v", i, e, want)
		}
		i++
		return nil
	})
	if err != nil || i != len(oids) {
		t.Errorf("%d of %d entries: %v", i, len(oids), err)
	}
	var text strings.Builder
	text.WriteString("dataentries:\n")
	for _, oid := range oids {
		fmt.Fprintf(&text, "  %d:\n    startbyte: %d\n    endbyte: %d\n", oid, oid, 2*oid)
	}
	got := make(map[uint32]SegmentEntry)
	if err := ReadSegmentTOC(strings.NewReader(text.String()), func(oid uint32, e SegmentEntry) error {
		got[oid] = e
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(oids) || got[17000] != (SegmentEntry{17000, 34000}) {
		t.Errorf("%d entries, %+v", len(got), got[17000])
	}
}

// A toc.yaml of 100,000 tables takes a few megabytes, not gigabytes.
func TestReadTOCMemory(t *testing.T) {
	in := &tocReader{tables: 100_000}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n, peak := 0, uint64(0)
	err := ReadTOC(in, func(TableEntry) error {
		if n++; n%20_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&after)
			peak = max(peak, after.HeapAlloc)
		}
		return nil
	})
	if err != nil || n != in.tables {
		t.Fatalf("%d tables: %v", n, err)
	}
	if grown := int64(peak) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// tocReader makes up a toc.yaml.
type tocReader struct {
	tables, n int
	buf       bytes.Buffer
}

func (r *tocReader) Read(p []byte) (int, error) {
	for r.buf.Len() < len(p) && r.n < r.tables {
		if r.n == 0 {
			r.buf.WriteString("dataentries:\n")
		}
		r.n++
		fmt.Fprintf(&r.buf, "- schema: public\n  name: t%d\n  oid: %d\n  attributestring: (%s)\n", r.n, r.n, strings.Repeat("c,", 100))
	}
	return r.buf.Read(p)
}

func FuzzReadConfig(f *testing.F) {
	f.Add([]byte(backup{ts: "20240102000000", oids: []int{101}, plan: []string{"20240101000000"}}.config("gpdedup", "1")))
	f.Add([]byte("restoreplan: [{timestamp: '20240101000000', tablefqns: [a.b]}]\nstatus: &a Success\nplugin: *a\n"))
	f.Add([]byte("restoreplan:\n- timestamp: 20240101000000\n  tablefqns:\n  - |\n    c\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		before, err := ReadConfig(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		// What can be read can be edited, or is refused by the check after it.
		var edited bytes.Buffer
		if err := withoutPlugin(bytes.NewReader(data), &edited); err != nil {
			t.Fatal(err)
		}
		if before.Plugin == "" && before.PluginVersion == "" {
			return
		}
		if after, err := ReadConfig(&edited); err == nil && after.Status != before.Status {
			t.Fatalf("status was %q, is %q", before.Status, after.Status)
		}
	})
}

func FuzzReadTOC(f *testing.F) {
	f.Add([]byte(backup{oids: []int{101, 102}}.toc()))
	f.Add([]byte("dataentries:\n  16384:\n    startbyte: 0\n    endbyte: 9\n"))
	f.Add([]byte("dataentries: [{oid: 1}, {oid: 2}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := ReadTOC(bytes.NewReader(data), func(TableEntry) error { return nil }); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		if err := ReadSegmentTOC(bytes.NewReader(data), func(uint32, SegmentEntry) error { return nil }); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	})
}
