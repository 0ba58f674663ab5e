package size

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"200MB": 200_000_000, "200M": 200_000_000, "200MiB": 200 << 20, "1gb": 1_000_000_000, "64k": 64_000, "5 MB": 5_000_000, "12": 12,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1MB", "0", "1.5GB", "9999999999GB", "10XB", "M10"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %d", text, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 999: "999 bytes", 1500: "1.5 KB", 10_240: "10 KB", 2_000_000: "2 MB", 235_400_000: "235 MB", 1_200_000_000: "1.2 GB",
	} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestOf(t *testing.T) {
	dir := t.TempDir()
	for name, n := range map[string]int{"a": 3, "b/c": 5, "wal/d": 7, "b/wal/e": 11} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := Of(dir); err != nil || n != 26 {
		t.Errorf("Of = %d, %v", n, err)
	}
	if n, err := Of(dir, "wal"); err != nil || n != 19 {
		t.Errorf("Of without wal = %d, %v", n, err)
	}
	if _, err := Of(filepath.Join(dir, "absent")); err == nil {
		t.Error("a directory that is not there has a size")
	}
}
