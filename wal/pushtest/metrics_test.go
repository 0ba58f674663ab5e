package pushtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// TestMetrics: a server's commands leave their numbers, and nothing in its log.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	metrics := filepath.Join(w.dir, "metrics")
	w.must(os.Mkdir(metrics, 0o755))
	w.must(host.Give(metrics))
	c := host.NewCluster(t, pgtest.Options{Settings: w.archiving("--metrics-file", metrics)})
	c.Start(t)
	last := c.Fill(t, 3)
	c.Archived(t, last)
	if log := c.Log(); strings.Contains(log, "gpdedup") {
		t.Errorf("something was said in the server's log: %s", log)
	}
	segment, err := strconv.ParseUint(last[16:], 16, 64)
	w.must(err)
	labels := `,namespace="main",repository="` + w.repository + `"`
	w.has(filepath.Join(metrics, "gpdedup_wal_push_main.prom"), map[string]string{
		`gpdedup_wal_pushed_files_total{command="wal push"` + labels + `,content="0"}`:         "3",
		`gpdedup_wal_last_pushed_position_bytes{command="wal push"` + labels + `,content="0"}`: fmt.Sprint(segment << 20),
		`gpdedup_wal_last_pushed_timeline{command="wal push"` + labels + `,content="0"}`:       "1",
		`gpdedup_wal_ready_files{command="wal push"` + labels + `,content="0"}`:                "0",
		`gpdedup_runs_total{command="wal push"` + labels + `,code="0"}`:                        "3",
	})
	c.Stop(t, "fast")
	fetch := func(file string) string {
		cmd := w.command("wal", "fetch", "--cluster", "main", "--metrics-file", metrics, file, "pg_wal/fetched")
		cmd.Dir = c.Data
		code, _, said := ends(cmd)
		if said != "" {
			t.Errorf("fetch %s: %s", file, said)
		}
		return code
	}
	if code := fetch(last); code != "0" {
		t.Errorf("fetch ends with %s", code)
	}
	if code := fetch("0000000100000000000000FE"); code != "1" {
		t.Errorf("fetch of what is not there ends with %s", code)
	}
	w.has(filepath.Join(metrics, "gpdedup_wal_fetch_main.prom"), map[string]string{
		`gpdedup_wal_fetched_files_total{command="wal fetch"` + labels + `,content="0"}`: "1",
		`gpdedup_runs_total{command="wal fetch"` + labels + `,code="0"}`:                 "1",
		`gpdedup_runs_total{command="wal fetch"` + labels + `,code="1"}`:                 "1",
		`gpdedup_runs_total{command="wal fetch"` + labels + `,code="200"}`:               "0",
	})
}

// has compares samples in a file of metrics.
func (w *world) has(file string, want map[string]string) {
	w.Helper()
	data, err := os.ReadFile(file)
	w.must(err)
	for sample, value := range want {
		if !strings.Contains(string(data), "\n"+sample+" "+value+"\n") {
			w.Errorf("no %s %s in\n%s", sample, value, data)
		}
	}
}
