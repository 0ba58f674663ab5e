package backups

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

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
