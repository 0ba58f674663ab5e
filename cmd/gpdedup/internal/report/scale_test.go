//go:build soak

package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage/local"
)

// TestThousandTables reports on 300 backups of 1,000 tables each, in a directory, and bounds the
// memory that it takes. GPDEDUP_REPORT_BACKUPS says how many backups.
func TestThousandTables(t *testing.T) {
	backupCount, tables := 300, 1000
	if s := os.Getenv("GPDEDUP_REPORT_BACKUPS"); s != "" {
		if _, err := fmt.Sscan(s, &backupCount); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	dir := t.TempDir()
	st, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Init(ctx, st, repo.InitOptions{Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(ctx, st, "write", repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	day := func(b int) string {
		return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, b).Format("20060102150405")
	}
	name := func(b int, item string) repo.Name {
		return repo.Name{Class: repo.Backup, Namespace: "default", Group: day(b), Item: strings.ReplaceAll(item, day(0), day(b))}
	}
	var items []string
	put := func(item, data string) {
		if _, err := r.Write(ctx, name(0, item), strings.NewReader(data), repo.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	var toc strings.Builder
	toc.WriteString("dataentries:\n")
	for i := range tables {
		fmt.Fprintf(&toc, "- schema: public\n  name: table_%d\n  oid: %d\n  rowscopied: 7\n", i, 16384+i)
		put(fmt.Sprintf("gpbackup_0_%s_%d", day(0), 16384+i), fmt.Sprintf("%d,row\n", i))
	}
	put("gpbackup_"+day(0)+"_metadata.sql", "--")
	put("gpbackup_"+day(0)+"_toc.yaml", toc.String())
	put("gpbackup_"+day(0)+"_config.yaml", "databasename: d\nsegmentcount: 1\nstatus: Success\nrestoreplan: []\n")
	// The others are the same manifests under other keys: written without a writer's care.
	for _, item := range items {
		m, err := r.Stream(ctx, name(0, item))
		if err != nil {
			t.Fatal(err)
		}
		payload, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		for b := 1; b < backupCount; b++ {
			key := name(b, item).Key()
			object, err := r.Keys().SealDocument(seal.Manifest, key, payload, nil)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, key)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, object, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	runtime.GC()
	var before, peak runtime.MemStats
	runtime.ReadMemStats(&before)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var now runtime.MemStats
		for {
			runtime.GC() // what is in use, not what was
			runtime.ReadMemStats(&now)
			peak.HeapAlloc = max(peak.HeapAlloc, now.HeapAlloc)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-stop:
				return
			}
		}
	}()
	began := time.Now()
	report, err := Collect(ctx, r, Options{Now: time.Now(), Top: 25})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	close(stop)
	<-done
	var page bytes.Buffer
	if err := report.Page(io.Writer(&page)); err != nil {
		t.Fatal(err)
	}
	used := peak.HeapAlloc - min(before.HeapAlloc, peak.HeapAlloc)
	t.Logf("%d streams: %s, at most %.0f MiB of heap, a page of %d KiB", backupCount*tables, took.Round(time.Millisecond), float64(used)/(1<<20), page.Len()>>10)
	if report.TableCount != tables+1 || report.Totals.Complete != backupCount {
		t.Errorf("%d tables, %d complete backups", report.TableCount, report.Totals.Complete)
	}
	if used > 256<<20 {
		t.Errorf("took %d bytes of heap", used)
	}
	if page.Len() > 1<<20 {
		t.Errorf("a page of %d bytes", page.Len())
	}
}
