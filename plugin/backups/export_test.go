package backups

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

func (w *world) export(ts, dir string, o ExportOptions) *ExportReport {
	w.t.Helper()
	rep, err := Export(context.Background(), w.r, testNamespace, ts, dir, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

// tree returns the regular files below dir and, with a slash at the end, its empty
// directories.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			entries, err := os.ReadDir(path)
			if len(entries) == 0 {
				out[rel+"/"] = nil
			}
			return err
		}
		out[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// exported is what a directory should hold, uncompressed.
func (b backup) exported(prefix string) map[string][]byte {
	out := make(map[string][]byte)
	at := func(content int, name string) string {
		return filepath.Join(prefix+strconv.Itoa(content), "backups", b.ts[:8], b.ts, name)
	}
	for _, f := range b.files() {
		if strings.HasSuffix(f.name, "_plugin_config.yaml") || contains(b.skip, f.name) {
			continue
		}
		if strings.HasSuffix(f.name, "_config.yaml") {
			f.data = []byte(b.config("", ""))
		}
		out[at(f.content, f.name)] = f.data
	}
	for c := range cmp.Or(b.segments, 2) {
		switch {
		case b.metadata || len(b.oids) > 0:
		case b.sdf:
			out[at(c, fmt.Sprintf("gpbackup_%d_%s%s", c, b.ts, b.ext))] = nil
			out[at(c, fmt.Sprintf("gpbackup_%d_%s_toc.yaml", c, b.ts))] = []byte("dataentries: {}\n")
		default:
			out[at(c, "")+"/"] = nil
		}
	}
	return out
}

func compareTrees(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(want)) {
		data, ok := got[path]
		switch {
		case !ok:
			t.Errorf("%s is not there", path)
		case len(want[path]) == 0 && len(data) == 0:
		case !bytes.Equal(unpack(t, path, data), want[path]):
			t.Errorf("%s differs:\n%.300q\nwant\n%.300q", path, data, want[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[path]; !ok {
			t.Errorf("%s should not be there", path)
		}
	}
}

// gprestore makes sure that gprestore --backup-dir would take the directory, as
// the comment in export.go says.
func gprestore(t *testing.T, dir string, b backup) {
	t.Helper()
	found, err := filepath.Glob(dir + "/*-1/backups")
	if err != nil || len(found) != 1 {
		t.Fatalf("%d coordinator directories: %v", len(found), err)
	}
	prefix := strings.TrimSuffix(filepath.Base(filepath.Dir(found[0])), "-1")
	if prefix == "" {
		t.Fatal("no segment prefix")
	}
	at := func(content int) string {
		return filepath.Join(dir, prefix+strconv.Itoa(content), "backups", b.ts[:8], b.ts)
	}
	for _, tail := range []string{"config.yaml", "toc.yaml", "metadata.sql"} {
		if _, err := os.ReadFile(filepath.Join(at(-1), "gpbackup_"+b.ts+"_"+tail)); err != nil {
			t.Error(err)
		}
	}
	f, err := os.Open(filepath.Join(at(-1), "gpbackup_"+b.ts+"_config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err := ReadConfig(f); err != nil || c.Plugin != "" || c.Status != "Success" {
		t.Errorf("config %+v, %v", c, err)
	}
	if b.metadata {
		return
	}
	want := len(b.oids)
	if b.sdf {
		want = 2
	}
	for c := range cmp.Or(b.segments, 2) {
		entries, err := os.ReadDir(at(c))
		if err != nil {
			t.Fatal(err)
		}
		counted := 0
		for _, e := range entries {
			if regexp.MustCompile(fmt.Sprintf(`.*gpbackup_(%d)_%s.*`, c, b.ts)).MatchString(e.Name()) {
				counted++
			}
		}
		if counted != want || len(entries) != want {
			t.Errorf("segment %d has %d files, %d are counted; want %d", c, len(entries), counted, want)
		}
	}
}

func TestExport(t *testing.T) {
	for _, test := range []struct {
		name string
		b    backup
	}{
		{"multi-file", backup{oids: someTables, stats: true}},
		{"gzip", backup{oids: someTables, ext: ".gz"}},
		{"zstd, unwrapped", backup{oids: someTables, ext: ".zst", wrapped: true}},
		{"gzip, unwrapped", backup{oids: someTables, ext: ".gz", wrapped: true, segments: 3}},
		{"single data file", backup{oids: someTables, sdf: true}},
		{"single data file, gzip, unwrapped", backup{oids: someTables, sdf: true, ext: ".gz", wrapped: true}},
		{"single data file, zstd", backup{oids: someTables, sdf: true, ext: ".zst"}},
		{"metadata only", backup{metadata: true}},
		{"no tables", backup{}},
		{"single data file, no tables", backup{sdf: true}},
		{"single data file, no tables, zstd", backup{sdf: true, ext: ".zst"}},
		{"not a date", backup{ts: "99684923394650", oids: someTables}},
		{"without report", backup{oids: someTables, skip: []string{"_report"}}},
		{"without segmentcount", backup{oids: someTables, legacy: true, segments: 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			b := test.b
			b.ts = cmp.Or(b.ts, "20240102000000")
			w.store(b)
			// What no table of contents names stays behind, or gprestore would count it.
			w.put(b.ts, "gpbackup_0_"+b.ts+"_777", []byte("left over"), repo.WriteOptions{})
			w.put(b.ts, "something_else", []byte("left over"), repo.WriteOptions{})
			dir := filepath.Join(t.TempDir(), "new", "export")
			rep := w.export(b.ts, dir, ExportOptions{})
			got := tree(t, dir)
			if !rep.OK || rep.SegmentPrefix != "gpseg" || rep.Directory != dir || !slices.Equal(rep.Exported, []string{b.ts}) {
				t.Errorf("%+v", rep)
			}
			compareTrees(t, got, b.exported("gpseg"))
			gprestore(t, dir, b)
		})
	}
}

func TestExportModes(t *testing.T) {
	w := newWorld(t)
	b := backup{ts: "20240102000000", oids: []int{102}}
	w.store(b)
	dir := t.TempDir()
	w.export(b.ts, dir, ExportOptions{})
	for path := range tree(t, dir) {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		want := fs.FileMode(0o444)
		if strings.HasSuffix(path, "_102") {
			want = 0o600
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}

func TestExportChain(t *testing.T) {
	w := newWorld(t)
	base := backup{ts: "20240101000000", oids: []int{102, 103}, ext: ".gz"}
	middle := backup{ts: "20240102000000", plan: []string{base.ts}, ext: ".gz"}
	last := backup{ts: "20240103000000", oids: []int{103}, plan: []string{base.ts, middle.ts}, ext: ".gz"}
	other := backup{ts: "20240104000000", oids: []int{103}}
	for _, b := range []backup{base, middle, last, other} {
		w.store(b)
	}
	dir := t.TempDir()
	rep := w.export(last.ts, dir, ExportOptions{})
	if !rep.OK || !slices.Equal(rep.Exported, []string{base.ts, middle.ts, last.ts}) {
		t.Errorf("%+v", rep)
	}
	want := base.exported("gpseg")
	maps.Copy(want, middle.exported("gpseg"))
	maps.Copy(want, last.exported("gpseg"))
	compareTrees(t, tree(t, dir), want)
	for _, b := range []backup{base, middle, last} {
		gprestore(t, dir, b)
	}

	w.delete(middle.ts)
	rep = w.export(last.ts, t.TempDir(), ExportOptions{})
	if rep.OK || !slices.Equal(problems(rep.Problems), []string{"02/ status"}) || !slices.Equal(rep.Exported, []string{base.ts, last.ts}) {
		t.Errorf("without a link of the chain: %+v", rep)
	}
	if _, err := Export(context.Background(), w.r, testNamespace, middle.ts, t.TempDir(), ExportOptions{}); !errors.Is(err, repo.ErrDeleted) || repo.Hint(err) == "" {
		t.Errorf("deleted: %v", err)
	}
}

func TestExportPrefix(t *testing.T) {
	w := newWorld(t)
	own := backup{ts: "20240101000000", oids: []int{103}, prefix: "demoDataDir"}
	odd := backup{ts: "20240102000000", oids: []int{103}, prefix: "a b*"}
	w.store(own)
	w.store(odd)
	for _, test := range []struct {
		ts, asked, want string
	}{{own.ts, "", "demoDataDir"}, {own.ts, "seg", "seg"}, {odd.ts, "", "gpseg"}} {
		dir := t.TempDir()
		if rep := w.export(test.ts, dir, ExportOptions{SegmentPrefix: test.asked}); rep.SegmentPrefix != test.want {
			t.Errorf("%+v: %s", test, rep.SegmentPrefix)
		}
		// A second backup joins the first, whatever cluster it came from.
		if rep := w.export(own.ts, dir, ExportOptions{Overwrite: true}); rep.SegmentPrefix != test.want {
			t.Errorf("again, %+v: %s", test, rep.SegmentPrefix)
		}
		if _, err := Export(context.Background(), w.r, testNamespace, odd.ts, dir, ExportOptions{SegmentPrefix: "another"}); !errors.Is(err, repo.ErrUsage) {
			t.Errorf("two prefixes in one directory: %v", err)
		}
	}
	for _, prefix := range []string{"a/b", "..*", "a b", "$x", strings.Repeat("x", 101)} {
		if _, err := Export(context.Background(), w.r, testNamespace, own.ts, t.TempDir(), ExportOptions{SegmentPrefix: prefix}); !errors.Is(err, repo.ErrUsage) {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	for _, dir := range []string{"/tmp/a b", "/tmp/a*", "/tmp/$HOME", "/tmp/a'b"} {
		if _, err := Export(context.Background(), w.r, testNamespace, own.ts, dir, ExportOptions{}); !errors.Is(err, repo.ErrUsage) {
			t.Errorf("directory %q: %v", dir, err)
		}
	}
	for path, want := range map[string]string{
		"/data/gpseg-1/backups/20240101/20240101000000/f": "gpseg", "/gpseg-1/backups/x/y/f": "gpseg", "/data/gpseg-1/elsewhere/x/y/f": "",
		"/data/gpseg0/backups/x/y/f": "", "f": "", "": "", "/-1/backups/x/y/f": "",
	} {
		if got := prefixOf(path, Coordinator); got != want {
			t.Errorf("prefix of %s is %q, want %q", path, got, want)
		}
	}
}

func TestExportOverwrite(t *testing.T) {
	w := newWorld(t)
	b := backup{ts: "20240101000000", oids: []int{102, 103}}
	w.store(b)
	dir := t.TempDir()
	w.export(b.ts, dir, ExportOptions{})
	segment := filepath.Join(dir, "gpseg0", "backups", "20240101", b.ts)
	for _, name := range []string{"gpbackup_0_" + b.ts + "_999.gz", tempPrefix + "123"} {
		if err := os.WriteFile(filepath.Join(segment, name), []byte("stale"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	report := filepath.Join(dir, "gpseg-1", "backups", "20240101", b.ts, "gprestore_"+b.ts+"_20240303000000_report")
	if err := os.WriteFile(report, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Export(context.Background(), w.r, testNamespace, b.ts, dir, ExportOptions{}); err == nil || !strings.Contains(repo.Hint(err), "--overwrite") {
		t.Errorf("onto another export: %v", err)
	}
	w.export(b.ts, dir, ExportOptions{Overwrite: true})
	gprestore(t, dir, b)
	if _, err := os.Stat(report); err != nil {
		t.Errorf("what gprestore left is gone: %v", err)
	}

	single := t.TempDir()
	if err := os.MkdirAll(filepath.Join(single, "backups", "20240101", b.ts), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Export(context.Background(), w.r, testNamespace, b.ts, single, ExportOptions{}); err == nil {
		t.Error("gprestore would take the other directory")
	}
}

// Damage leaves a file out, and nothing half-written.
func TestExportDamage(t *testing.T) {
	w := newWorld(t)
	b := backup{ts: "20240101000000", oids: []int{102, 104}, ext: ".gz", wrapped: true}
	w.store(b)
	w.corrupt(b.ts, "gpbackup_0_20240101000000_104.gz")
	dir := t.TempDir()
	rep := w.export(b.ts, dir, ExportOptions{})
	if rep.OK || !slices.Equal(problems(rep.Problems), []string{"01/gpbackup_0_TS_104.gz damaged"}) || rep.Files != len(b.files())-2 {
		t.Errorf("%+v", rep)
	}
	b.skip = []string{"gpbackup_0_20240101000000_104.gz"}
	compareTrees(t, tree(t, dir), b.exported("gpseg"))

	missing := backup{ts: "20240102000000", oids: []int{102, 104}, skip: []string{"gpbackup_1_20240102000000_102"}}
	w.store(missing)
	dir = t.TempDir()
	rep = w.export(missing.ts, dir, ExportOptions{})
	if rep.OK || !slices.Equal(problems(rep.Problems), []string{"02/gpbackup_1_TS_102 missing"}) {
		t.Errorf("%+v", rep)
	}
	compareTrees(t, tree(t, dir), missing.exported("gpseg"))
}

// What is no backup is not exported, and leaves nothing behind.
func TestExportRefuses(t *testing.T) {
	w := newWorld(t)
	failed := backup{ts: "20240101000000", oids: someTables, status: "Failure"}
	running := backup{ts: "20240102000000", oids: someTables, skip: []string{"config.yaml"}}
	malformed := backup{ts: "20240103000000", oids: someTables, skip: []string{"_20240103000000_toc.yaml"}}
	for _, b := range []backup{failed, running, malformed} {
		w.store(b)
	}
	w.put(malformed.ts, "gpbackup_20240103000000_toc.yaml", []byte("dataentries: 7\n"), repo.WriteOptions{})
	for _, ts := range []string{failed.ts, running.ts, malformed.ts, "20000101000000", "today"} {
		dir := filepath.Join(t.TempDir(), "x")
		_, err := Export(context.Background(), w.r, testNamespace, ts, dir, ExportOptions{})
		if err == nil {
			t.Errorf("%s was exported", ts)
		}
		if errors.Is(err, repo.ErrDamaged) != (ts == malformed.ts) {
			t.Errorf("%s: %v", ts, err)
		}
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s left a directory", ts)
		}
	}
}

// A full disk, and an operator who has had enough, end an export without leaving
// temporary files.
func TestExportStops(t *testing.T) {
	w := newWorld(t)
	b := backup{ts: "20240101000000", oids: []int{102, 104, 106}}
	w.store(b)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Export(ctx, w.r, testNamespace, b.ts, dir, ExportOptions{Progress: func(n, _ int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for path := range tree(t, dir) {
		if strings.Contains(path, tempPrefix) || strings.HasSuffix(path, "config.yaml") {
			t.Errorf("%s was left", path)
		}
	}
}

func TestWithoutPlugin(t *testing.T) {
	for in, want := range map[string]string{
		"a: 1\nplugin: gpdedup\npluginversion: 1.2.3\nrestoreplan: []\n":                            "a: 1\nplugin: \"\"\npluginversion: \"\"\nrestoreplan: []\n",
		"plugin: >-\n  a\n  b\npluginversion: \"x\n  y\"\nstatus: Success":                          "plugin: \"\"\npluginversion: \"\"\nstatus: Success",
		"plugin: x\r\nstatus: Success\r\n":                                                          "plugin: \"\"\r\nstatus: Success\r\n",
		"includerelations:\n- public.plugin\nplugin: \"\"\nx:\n  plugin: y\n# plugin: z\nplug: z\n": "includerelations:\n- public.plugin\nplugin: \"\"\nx:\n  plugin: y\n# plugin: z\nplug: z\n",
		"---\n# c\nplugin: x": "---\n# c\nplugin: \"\"",
		"status: Success\n":   "status: Success\n",
	} {
		var out bytes.Buffer
		if err := withoutPlugin(strings.NewReader(in), &out); err != nil || out.String() != want {
			t.Errorf("%q became %q (%v), want %q", in, out.String(), err, want)
		}
	}
}

// An export cannot be made of a config.yaml whose other values hang on the plugin's.
func TestExportConfigAlias(t *testing.T) {
	w := newWorld(t)
	b := backup{ts: "20240101000000", oids: []int{101}, skip: []string{"_20240101000000_config.yaml"}}
	w.store(b)
	text := strings.Replace(b.config("&a Success", "1"), "status: Success", "status: *a", 1)
	w.put(b.ts, "gpbackup_20240101000000_config.yaml", []byte(text), repo.WriteOptions{})
	if s := w.list(ListOptions{})[0]; s.Status != Complete {
		t.Fatal(s.Reason)
	}
	dir := t.TempDir()
	if _, err := Export(context.Background(), w.r, testNamespace, b.ts, dir, ExportOptions{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
}
