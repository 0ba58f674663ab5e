package plugin

import (
	"errors"
	"path"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

func TestStreamName(t *testing.T) {
	for _, x := range []struct{ path, group, item string }{
		{"/data/seg0/backups/20240101/20240101000000/gpbackup_0_20240101000000_16384.gz", "20240101000000", "gpbackup_0_20240101000000_16384.gz"},
		{"/other/dest1/backups/20240101/20240101000000/gpbackup_0_20240101000000", "20240101000000", "gpbackup_0_20240101000000"},
		{"/reports/gpbackup_20240101000000_report", "20240101000000", "gpbackup_20240101000000_report"},
		{"gpbackup_20240101000000_report", "20240101000000", "gpbackup_20240101000000_report"},
		{"/reports/gpbackup_12_20240101000000_16384", "20240101000000", "gpbackup_12_20240101000000_16384"},
		{"/reports/gpbackup_0_20240101000000", "20240101000000", "gpbackup_0_20240101000000"},
		{"/x/99684923394650/testdata_99..txt", "99684923394650", "testdata_99..txt"},
		{"/x//99684923394650//test data", "99684923394650", "test data"},
		{"/x/20240101000000/gpbackup_0_20250101000000_1", "20240101000000", "gpbackup_0_20250101000000_1"},
		{"99999999999999/a", "99999999999999", "a"},
	} {
		n, err := StreamName("ns", x.path)
		want := repo.Name{Class: repo.Backup, Namespace: "ns", Group: x.group, Item: x.item}
		if err != nil || n != want {
			t.Errorf("%s: got %+v, %v", x.path, n, err)
		}
	}
	for _, bad := range []string{
		"", "/", ".", "..", "/20240101000000/", "/20240101000000/..", "report", "/x/2024010100000/report",
		"/x/202401010000000/report", "/x/gpbackup_2024010100000_report", "/x/gpbackup_202401010000000_report",
		"/x/20240101000000/" + string(make([]byte, 100)),
	} {
		if n, err := StreamName("ns", bad); !errors.Is(err, repo.ErrUsage) {
			t.Errorf("%q: got %+v, error %v", bad, n, err)
		}
	}
	if _, err := StreamName("..", "/20240101000000/a"); !errors.Is(err, repo.ErrUsage) {
		t.Errorf("namespace ..: error %v", err)
	}
}

func FuzzStreamName(f *testing.F) {
	for _, seed := range []string{"/x/20240101000000/a", "/x/gpbackup_0_20240101000000_1.zst", "gpbackup_20240101000000", "///", ".."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		n, err := StreamName("default", file)
		if err != nil {
			if !errors.Is(err, repo.ErrUsage) {
				t.Fatalf("%q: %v", file, err)
			}
			return
		}
		if !IsTimestamp(n.Group) || n.Validate() != nil {
			t.Fatalf("%q: %+v", file, n)
		}
		// Only the last two components count.
		again, err := StreamName("default", path.Join("/elsewhere", n.Group, n.Item))
		if err != nil || again != n {
			t.Fatalf("%q: %+v, elsewhere %+v, %v", file, n, again, err)
		}
	})
}
