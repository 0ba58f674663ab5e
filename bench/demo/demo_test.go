package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestParse(t *testing.T) {
	set, err := parse([]string{"--size", "3MB", "--days=2", "--compress", "gzip", "--keep", "/bin/sh"})
	if want := (settings{"/bin/sh", 3_000_000, 2, 2, 2, true, true}); err != nil || set != want {
		t.Errorf("parse = %+v, %v; want %+v", set, err, want)
	}
	if set, err := parse([]string{"--gpdedup", "/bin/sh"}); err != nil || set.exe != "/bin/sh" || set.size != 200_000_000 {
		t.Errorf("parse = %+v, %v", set, err)
	}
	for _, args := range [][]string{
		{"/no/such/file"}, {"/tmp"}, {"/bin/sh", "more"}, {"--days", "0", "/bin/sh"}, {"--compress", "lzma", "/bin/sh"}, {"--size", "big", "/bin/sh"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("parse(%q) succeeds", args)
		}
	}
}

// TestCatalog: a YAML reader finds in toc.yaml and config.yaml what gprestore looks for.
func TestCatalog(t *testing.T) {
	db := newDatabase(100_000, 3)
	metadata, spans := metadataSQL(db.tables)
	var toc struct {
		PredataEntries []struct {
			Name               string
			StartByte, EndByte int
			Tier               []int
		} `yaml:"predataentries"`
		DataEntries []struct {
			Schema, Name    string
			OID             int    `yaml:"oid"`
			AttributeString string `yaml:"attributestring"`
			RowsCopied      int    `yaml:"rowscopied"`
			IsReplicated    bool   `yaml:"isreplicated"`
		} `yaml:"dataentries"`
	}
	if err := yaml.Unmarshal([]byte(tocYAML(db, spans)), &toc); err != nil {
		t.Fatal(err)
	}
	if len(toc.DataEntries) != len(db.tables) || len(toc.PredataEntries) != len(db.tables) {
		t.Fatalf("%d data entries, %d statements, %d tables", len(toc.DataEntries), len(toc.PredataEntries), len(db.tables))
	}
	replicated := 0
	for i, e := range toc.DataEntries {
		if e.Schema != "public" || e.Name != db.tables[i].name || e.OID != db.tables[i].oid || e.RowsCopied != db.rows(i) {
			t.Errorf("entry %+v of table %+v", e, db.tables[i])
		}
		if e.IsReplicated {
			replicated++
			for c := range db.segments {
				if db.segments[c][i].Rows()*len(db.segments) != db.rows(i) {
					t.Errorf("table %s is not the same everywhere", e.Name)
				}
			}
		}
	}
	if replicated == 0 {
		t.Error("no table is replicated")
	}
	for i, span := range spans {
		if statement := metadata[span[0]:span[1]]; !strings.Contains(statement, "CREATE TABLE public."+db.tables[i].name+" (") || !strings.HasSuffix(statement, ";\n") {
			t.Errorf("statement of %s: %q", db.tables[i].name, statement)
		}
	}
	var config map[string]any
	if err := yaml.Unmarshal([]byte(configYAML(db, "/x/gpdedup", "1.10", "20260105210000", true)), &config); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"status": "Success", "timestamp": "20260105210000", "endtime": "20260105210000", "segmentcount": 3, "compressed": true,
		"compressiontype": "gzip", "pluginversion": "1.10", "plugin": "/x/gpdedup", "singledatafile": false, "backupdir": "",
	} {
		if config[name] != want {
			t.Errorf("config.yaml: %s is %v (%[2]T), want %v", name, config[name], want)
		}
	}
	var plugin struct {
		ExecutablePath string            `yaml:"executablepath"`
		Options        map[string]string `yaml:"options"`
	}
	text := pluginYAML("/x/gpdedup", "", map[string]string{"repository": "/r"})
	if err := yaml.Unmarshal([]byte(text), &plugin); err != nil || plugin.Options["repository"] != "/r" || plugin.Options["pgport"] != "6000" || !strings.Contains(text, `pgport: "6000"`) {
		t.Errorf("plugin.yaml, %v:\n%s", err, text)
	}
}

func TestVerdict(t *testing.T) {
	for want, total := range map[string]figures{
		"3 full backups take 1.0 MB, 90.0 % less than 10.0 MB as plain copies; zstd is not installed, so there is no comparison with it.":       {stored: 1e6, logical: 1e7},
		"3 full backups take 5.0 MB, 50.0 % less than 10.0 MB as plain copies and 25.0 % more than 4.0 MB with each day compressed by zstd -1.": {stored: 5e6, logical: 1e7, zstd: 4e6},
	} {
		if got := verdict(3, total); got != want {
			t.Errorf("verdict = %q, want %q", got, want)
		}
	}
}

func TestReport(t *testing.T) {
	day := figures{streams: 68, logical: 2e8, stored: 7e7, took: 2 * time.Second}
	r := report{days: []figures{day, day}, restore: day, verify: time.Second, check: time.Second}
	var b bytes.Buffer
	if err := r.print(&b, settings{jobs: 2, segments: 2}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"day 2       68  200.0 MB       70.0 MB  35.0 %  2.0 s   100\n", "2 days      136  400.0 MB      140.0 MB  35.0 %  4.0 s   100\n", "4 processes at once"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// stand is an executable in gpdedup's place: the reference plugin, and nothing behind the other commands.
func stand(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	reference := filepath.Join(dir, "reference")
	if out, err := exec.Command("go", "build", "-o", reference, "../../plugin/plugintest/reference").CombinedOutput(); err != nil {
		t.Fatalf("build reference: %v\n%s", err, out)
	}
	exe := filepath.Join(dir, "gpdedup")
	script := "#!/bin/sh\ncase \"$1 $2\" in\n'repo init') mkdir \"$4\" ;;\n'repo check') exit ${CHECK:-0} ;;\n'backup verify') ;;\n*) exec " + reference + " \"$@\" ;;\nesac\n"
	if err := os.WriteFile(exe, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return exe
}

// TestRun plays the whole demo on a plugin that keeps plain copies, and on ones that break something.
func TestRun(t *testing.T) {
	exe := stand(t)
	for _, test := range []struct {
		name, env, want string
		gzip            bool
	}{
		{"plain", "", "", false},
		{"gzip", "", "", true},
		{"other bytes", "BROKEN=drops-last-byte", "other bytes came back", false},
		{"stderr", "BROKEN=stderr-noise", "not silent on stderr", false},
		{"hook", "BROKEN=hook-refuses-quoted-id", "setup_plugin_for_backup", false},
		{"lost", "BROKEN=cleanup-deletes", "restore_file", false},
		{"damage", "CHECK=4", "repo check", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			if name, value, ok := strings.Cut(test.env, "="); ok {
				t.Setenv(name, value)
			}
			err := run(context.Background(), settings{exe: exe, size: 300_000, days: 2, segments: 2, jobs: 2, gzip: test.gzip})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("run: %v, want %q", err, test.want)
			}
			if left, _ := os.ReadDir(tmp); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestCancel: an interrupted demo ends, says so and cleans up.
func TestCancel(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := run(ctx, settings{exe: stand(t), size: 300_000, days: 1, segments: 2, jobs: 2}); err == nil {
		t.Error("run succeeds")
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
