//go:build soak

package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/local"
)

// TestThousandTables reports on 100 backups of 1,000 tables each, in a directory, and bounds the
// memory that it takes. GPDEDUP_REPORT_BACKUPS says how many backups.
func TestThousandTables(t *testing.T) {
	backupCount, tables := 100, 1000
	if s := os.Getenv("GPDEDUP_REPORT_BACKUPS"); s != "" {
		if _, err := fmt.Sscan(s, &backupCount); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	st, err := local.Open(t.TempDir())
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
	for b := range backupCount {
		ts := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, b).Format("20060102150405")
		put := func(item, data string) error {
			_, err := r.Write(ctx, repo.Name{Class: repo.Backup, Namespace: "default", Group: ts, Item: item}, strings.NewReader(data), repo.WriteOptions{})
			return err
		}
		var g errgroup.Group
		g.SetLimit(8)
		var toc strings.Builder
		toc.WriteString("dataentries:\n")
		for i := range tables {
			fmt.Fprintf(&toc, "- schema: public\n  name: table_%d\n  oid: %d\n  rowscopied: 7\n", i, 16384+i)
			g.Go(func() error { return put(fmt.Sprintf("gpbackup_0_%s_%d", ts, 16384+i), fmt.Sprintf("%d,row\n", i)) })
		}
		g.Go(func() error { return put("gpbackup_"+ts+"_metadata.sql", "--") })
		g.Go(func() error { return put("gpbackup_"+ts+"_toc.yaml", toc.String()) })
		g.Go(func() error {
			return put("gpbackup_"+ts+"_config.yaml", "databasename: d\nsegmentcount: 1\nstatus: Success\nrestoreplan: []\n")
		})
		if err := g.Wait(); err != nil {
			t.Fatal(err)
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
