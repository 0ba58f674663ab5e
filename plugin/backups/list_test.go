package backups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

var someTables = []int{101, 102, 103, 109} // 102 is in a pack, 103 replicated, 109 empty

func TestStatus(t *testing.T) {
	const ts = "20240102000000"
	for _, test := range []struct {
		name    string
		b       backup
		want    Status
		missing int
		reason  string // a part of it
	}{
		{name: "multi-file", b: backup{oids: someTables}, want: Complete},
		{name: "gzip", b: backup{oids: someTables, ext: ".gz"}, want: Complete},
		{name: "zstd, unwrapped", b: backup{oids: someTables, ext: ".zst", wrapped: true, stats: true}, want: Complete},
		{name: "single data file", b: backup{oids: someTables, sdf: true, ext: ".gz"}, want: Complete},
		{name: "one segment", b: backup{oids: someTables, segments: 1}, want: Complete},
		{name: "metadata only", b: backup{metadata: true}, want: Complete},
		{name: "no tables", b: backup{}, want: Complete},
		{name: "single data file without tables", b: backup{sdf: true}, want: Complete},
		{name: "not a date", b: backup{ts: "99684923394650", oids: someTables}, want: Complete},
		{name: "without segmentcount", b: backup{oids: someTables, legacy: true, segments: 3}, want: Complete},
		{name: "without report", b: backup{oids: someTables, skip: []string{"_report"}}, want: Complete},
		{name: "without plugin config", b: backup{oids: someTables, skip: []string{"_plugin_config"}}, want: Complete},

		{name: "failed", b: backup{oids: someTables, status: "Failure"}, want: Failed, reason: "gpbackup reported failure"},
		{name: "failed early", b: backup{oids: someTables, status: "Failure", skip: []string{"_0_", "_toc.yaml", "metadata"}}, want: Failed, missing: 2},
		{name: "running", b: backup{oids: someTables, skip: []string{"_config.yaml", "_report"}}, want: Incomplete, reason: "no config.yaml"},
		{name: "unknown status", b: backup{oids: someTables, status: "In Progress"}, want: Incomplete, reason: `status "In Progress"`},
		{name: "no status", b: backup{oids: someTables, status: `""`}, want: Incomplete},
		{
			name: "one stream missing", b: backup{oids: someTables, skip: []string{"gpbackup_1_" + ts + "_102"}}, want: Incomplete, missing: 1,
			reason: "gpbackup_1_" + ts + "_102 is missing",
		},
		{name: "one segment missing", b: backup{oids: someTables, skip: []string{"gpbackup_1_"}}, want: Incomplete, missing: 4, reason: "4 streams are missing"},
		{name: "segment table of contents missing", b: backup{oids: someTables, sdf: true, skip: []string{"gpbackup_0_" + ts + "_toc"}}, want: Incomplete, missing: 1},
		{name: "single data file missing", b: backup{oids: someTables, sdf: true, ext: ".gz", skip: []string{".gz"}}, want: Incomplete, missing: 2},
		{name: "table of contents missing", b: backup{oids: someTables, skip: []string{"gpbackup_" + ts + "_toc"}}, want: Incomplete, missing: 1},
		{name: "metadata missing", b: backup{metadata: true, skip: []string{"metadata.sql"}}, want: Incomplete, missing: 1},
		{name: "statistics missing", b: backup{oids: someTables, stats: true, skip: []string{"statistics"}}, want: Incomplete, missing: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if test.b.ts == "" {
				test.b.ts = ts
			}
			w.store(test.b)
			list := w.list(ListOptions{})
			if len(list) != 1 {
				t.Fatalf("%d backups", len(list))
			}
			got := list[0]
			if got.Status != test.want || got.MissingStreams != test.missing || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("%s, %d missing, %q; want %s, %d missing, %q", got.Status, got.MissingStreams, got.Reason, test.want, test.missing, test.reason)
			}
			d := w.show(test.b.ts)
			if d.Status != got.Status || d.Reason != got.Reason || len(d.Missing) != test.missing {
				t.Errorf("show differs from list: %+v", d)
			}
			for _, name := range d.Missing {
				if !contains(test.b.skip, name) {
					t.Errorf("%s is said to be missing", name)
				}
			}
		})
	}
}

func TestListAndShow(t *testing.T) {
	w := newWorld(t)
	full := backup{ts: "20240101000000", oids: someTables}
	incremental := backup{ts: "20240102000000", oids: []int{102}, plan: []string{full.ts}}
	deleted := backup{ts: "20240103000000", oids: []int{101}, ext: ".gz"}
	weird := backup{ts: "99999999999999", metadata: true}
	for _, b := range []backup{incremental, weird, full, deleted} {
		w.store(b)
	}
	w.delete(deleted.ts)
	w.put("notatimestamp", "file", []byte("x"), repo.WriteOptions{})

	timestamps := func(list []Summary) string {
		var out []string
		for _, s := range list {
			out = append(out, s.Timestamp[:8]+" "+string(s.Status))
		}
		return strings.Join(out, ", ")
	}
	for _, test := range []struct {
		o    ListOptions
		want string
	}{
		{ListOptions{}, "99999999 complete, 20240102 complete, 20240101 complete"},
		{ListOptions{Deleted: true}, "99999999 complete, 20240103 deleted, 20240102 complete, 20240101 complete"},
		{ListOptions{Limit: 2, Sizes: true}, "99999999 complete, 20240102 complete"},
		{ListOptions{Deleted: true, Limit: 2}, "99999999 complete, 20240103 deleted"},
	} {
		if got := timestamps(w.list(test.o)); got != test.want {
			t.Errorf("%+v: %s, want %s", test.o, got, test.want)
		}
	}
	if list, err := List(context.Background(), w.r, "nosuch", ListOptions{}); err != nil || len(list) != 0 {
		t.Errorf("another namespace: %v, %v", list, err)
	}

	list := w.list(ListOptions{Sizes: true, Deleted: true})
	inc, gone := list[2], list[1]
	if inc.Type != "incremental" || !slices.Equal(inc.Ancestors, []string{full.ts}) || inc.Database != "it's: odd" || inc.Tables != 1 ||
		inc.Streams != 7 || inc.Segments != 2 || inc.Compression != "none" || inc.GpbackupVersion != "1.30.5" || inc.PluginVersion != "1.2.3" {
		t.Errorf("incremental: %+v", inc)
	}
	var length uint64
	for _, f := range incremental.files() {
		length += uint64(len(f.data))
	}
	if *inc.Bytes != length || *inc.NewBytes == 0 {
		t.Errorf("%d bytes, %d new; want %d", *inc.Bytes, *inc.NewBytes, length)
	}
	if gone.Bytes != nil || gone.Database == "" || gone.Tables != 1 || gone.Compression != "gzip" {
		t.Errorf("deleted: %+v", gone)
	}

	d := w.show(incremental.ts)
	if !slices.Equal(d.Hosts, []string{"sdw0", "sdw1", "sdw2"}) || !slices.Equal(d.Chain, []Link{{full.ts, Complete}}) || len(d.StreamInfos) != 7 {
		t.Errorf("show: %+v", d)
	}
	if s := d.StreamInfos[0]; s.Name != "gpbackup_0_20240102000000_102" || s.Table != "public.t102" || s.Kind != TableData || s.Host != "sdw1" || *s.Bytes < 60_000 {
		t.Errorf("stream: %+v", s)
	}
	if d := w.show(deleted.ts); d.Status != Deleted || len(d.StreamInfos) != 7 || d.StreamInfos[0].Bytes != nil {
		t.Errorf("show deleted: %+v", d)
	}
	if _, err := Show(context.Background(), w.r, testNamespace, "20000101000000"); !errors.Is(err, repo.ErrNoStream) {
		t.Errorf("unknown timestamp: %v", err)
	}
	if _, err := Show(context.Background(), w.r, testNamespace, "today"); !errors.Is(err, repo.ErrUsage) {
		t.Errorf("no timestamp: %v", err)
	}
	if _, err := json.Marshal(d); err != nil {
		t.Error(err)
	}
}

func TestChain(t *testing.T) {
	w := newWorld(t)
	base := backup{ts: "20240101000000", oids: []int{101, 102}, sdf: true}
	middle := backup{ts: "20240102000000", oids: []int{101}, plan: []string{base.ts}, sdf: true}
	last := backup{ts: "20240103000000", plan: []string{base.ts, middle.ts}, sdf: true}
	other := backup{ts: "20240104000000", oids: []int{101}}
	absentBase := backup{ts: "20240105000000", oids: []int{101}, plan: []string{"20231231000000"}}
	for _, b := range []backup{base, middle, last, other, absentBase} {
		w.store(b)
	}
	statuses := func(o ListOptions) map[string]Status {
		out := make(map[string]Status)
		for _, s := range w.list(o) {
			out[s.Timestamp] = s.Status
		}
		return out
	}
	got := statuses(ListOptions{})
	for ts, want := range map[string]Status{base.ts: Complete, middle.ts: Complete, last.ts: Complete, other.ts: Complete, absentBase.ts: BrokenChain} {
		if got[ts] != want {
			t.Errorf("%s is %s, want %s", ts, got[ts], want)
		}
	}
	deps, err := Dependents(context.Background(), w.r, testNamespace, base.ts)
	if err != nil || !slices.Equal(deps[base.ts], []string{middle.ts, last.ts}) {
		t.Errorf("dependents %v, %v", deps, err)
	}
	w.delete(base.ts)
	got = statuses(ListOptions{Limit: 3}) // without the base in the list
	if got[last.ts] != BrokenChain || got[other.ts] != Complete {
		t.Errorf("after the base was deleted: %v", got)
	}
	d := w.show(last.ts)
	if d.Status != BrokenChain || !slices.Equal(d.Chain, []Link{{base.ts, Deleted}, {middle.ts, Complete}}) || !strings.Contains(d.Reason, base.ts+", which is deleted") {
		t.Errorf("show: %+v", d)
	}
}

func TestDamagedDescription(t *testing.T) {
	const ts = "20240102000000"
	for _, name := range []string{"config.yaml", "toc.yaml"} {
		w := newWorld(t)
		b := backup{ts: ts, oids: someTables, skip: []string{"gpbackup_" + ts + "_" + name}}
		w.store(b)
		w.put(ts, "gpbackup_"+ts+"_"+name, []byte("dataentries: 7\nsegmentcount: x\n"), repo.WriteOptions{})
		if got := w.list(ListOptions{}); got[0].Status != Damaged || !strings.Contains(got[0].Reason, name) {
			t.Errorf("malformed %s: %s, %s", name, got[0].Status, got[0].Reason)
		}
	}
	w := newWorld(t)
	b := backup{ts: ts, oids: someTables}
	w.store(b)
	key := streamName(testNamespace, ts, "gpbackup_0_"+ts+"_101").Key()
	w.st.Corrupt(key, func(b []byte) []byte { return b[:len(b)-1] })
	if got := w.list(ListOptions{})[0]; got.Status != Complete {
		t.Errorf("without a look at manifests: %s", got.Status)
	}
	if got := w.list(ListOptions{Sizes: true})[0]; got.Status != Damaged || !strings.Contains(got.Reason, "_101") {
		t.Errorf("damaged manifest: %s, %s", got.Status, got.Reason)
	}
}

// A repository that does not answer is an error, not a damaged backup.
func TestListStorageFails(t *testing.T) {
	w := newWorld(t)
	w.store(backup{ts: "20240102000000", oids: someTables})
	away := errors.New("connection reset")
	for _, op := range []string{"get", "list", "children", "stat"} {
		w.st.SetHook(func(o, key string) (f mem.Fault) {
			if o == op {
				f.Before = &storage.Error{Op: op, Key: key, Err: away}
			}
			return f
		})
		if _, err := List(context.Background(), w.r, testNamespace, ListOptions{Sizes: true}); !errors.Is(err, away) {
			t.Errorf("%s fails: %v", op, err)
		}
	}
}

// A list without sizes reads two small files of a backup, not every manifest.
func TestListIsCheap(t *testing.T) {
	w := newWorld(t)
	var oids []int
	for i := range 100 {
		oids = append(oids, 1001+2*i)
	}
	w.store(backup{ts: "20240102000000", oids: oids})
	before := w.st.Counts()
	if s := w.list(ListOptions{})[0]; s.Status != Complete {
		t.Fatal(s.Reason)
	}
	after := w.st.Counts()
	if n := after["get"] - before["get"]; n > 4 {
		t.Errorf("%d objects were read", n)
	}
}

// What a hostile config and toc.yaml ask for is named only up to a limit.
func TestHostileClaims(t *testing.T) {
	const ts = "20240102000000"
	w := newWorld(t)
	var oids []int
	for i := range 5000 {
		oids = append(oids, 1001+i)
	}
	b := backup{ts: ts, oids: oids, segments: maxSegments}
	w.put(ts, "gpbackup_"+ts+"_config.yaml", []byte(b.config("gpdedup", "1")), repo.WriteOptions{})
	w.put(ts, "gpbackup_"+ts+"_toc.yaml", []byte(b.toc()), repo.WriteOptions{})
	d := w.show(ts)
	if want := maxSegments*5000 + 1; d.MissingStreams != want || len(d.Missing) != maxMissing {
		t.Errorf("%d missing, %d named; want %d", d.MissingStreams, len(d.Missing), want)
	}
	if d.Reason != fmt.Sprintf("%d streams are missing", d.MissingStreams) {
		t.Error(d.Reason)
	}
}

// gprestore looks for the very name, so another extension is another stream.
func TestExtension(t *testing.T) {
	const ts = "20240102000000"
	w := newWorld(t)
	w.store(backup{ts: ts, oids: []int{101}, ext: ".gz", skip: []string{"gpbackup_0_" + ts}})
	w.put(ts, "gpbackup_0_"+ts+"_101.zst", []byte("x"), repo.WriteOptions{})
	d := w.show(ts)
	if d.Status != Incomplete || !slices.Equal(d.Missing, []string{"gpbackup_0_" + ts + "_101.gz"}) ||
		!slices.Equal(d.Notes, []string{"data streams that toc.yaml does not ask for: 1"}) {
		t.Errorf("%+v", d)
	}
}
