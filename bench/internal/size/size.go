// Package size reads, writes and takes the sizes that benchmarks deal with. Units are decimal unless it says otherwise.
package size

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Bytes of the units.
const (
	Mega = 1_000_000
	Giga = 1_000_000_000
	Tera = 1_000 * Giga
	Mebi = 1 << 20
)

// Parse reads 200MB, 200M or 200MiB, in bytes, of which there is at least one.
func Parse(text string) (int64, error) {
	number := strings.TrimRight(text, "BbiI")
	unit := int64(1)
	if i := strings.IndexAny(number, "kKmMgG"); i >= 0 && i == len(number)-1 {
		base := int64(1000)
		if strings.ContainsAny(text, "iI") {
			base = 1024
		}
		for range 1 + strings.IndexByte("kmg", number[i]|0x20) {
			unit *= base
		}
		number = number[:i]
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 1 || n > 1<<50/unit {
		return 0, fmt.Errorf("read size %q: want something like 200MB", text)
	}
	return n * unit, nil
}

// Format writes a length in two or three digits.
func Format(n int64) string {
	unit, name := 1.0, " bytes"
	switch {
	case n >= Tera:
		unit, name = Tera, " TB"
	case n >= Giga:
		unit, name = Giga, " GB"
	case n >= Mega:
		unit, name = Mega, " MB"
	case n >= 1000:
		unit, name = 1000, " KB"
	}
	value := float64(n) / unit
	if value < 10 && unit > 1 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + name
	}
	return fmt.Sprintf("%.0f%s", value, name)
}

// Of is the length of all files below dir together; skip names folders of dir that do not count. A file that goes away
// while it is asked counts as nothing.
func Of(dir string, skip ...string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, name := range skip {
			if d.IsDir() && path == filepath.Join(dir, name) {
				return fs.SkipDir
			}
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		total += info.Size()
		return nil
	})
	return total, err
}
