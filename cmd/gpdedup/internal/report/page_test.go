package report

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
)

// TestDemoPage writes a page to look at, of two months, to the file that GPDEDUP_REPORT_PAGE names.
func TestDemoPage(t *testing.T) {
	path, days := os.Getenv("GPDEDUP_REPORT_PAGE"), 62
	if path == "" { // nobody is going to look
		path, days = filepath.Join(t.TempDir(), "page.html"), 2
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.live(days, newDatabase("default", "sales", 40_000), newDatabase("default", "billing", 12_000), newDatabase("prod2", "web", 9_000))
		var page bytes.Buffer
		r := w.collect(Options{Capacity: 60 << 20})
		r.Repository.Location, r.Version = "/backup/gpdedup", "1.0"
		w.must(r.Page(&page))
		w.must(os.WriteFile(path, page.Bytes(), 0o644))
	})
}
