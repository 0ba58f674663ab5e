package report

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"
)

// TestDemoPage writes a page to look at to the file that GPDEDUP_REPORT_PAGE names.
func TestDemoPage(t *testing.T) {
	path := os.Getenv("GPDEDUP_REPORT_PAGE")
	if path == "" {
		t.Skip("GPDEDUP_REPORT_PAGE names no file")
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.live(62, newDatabase("default", "sales", 40_000), newDatabase("default", "billing", 12_000), newDatabase("prod2", "web", 9_000))
		var page bytes.Buffer
		r := w.collect(Options{Capacity: 60 << 20})
		r.Repository.Location, r.Version = "/backup/gpdedup", "1.0"
		w.must(r.Page(&page))
		w.must(os.WriteFile(path, page.Bytes(), 0o644))
	})
}
