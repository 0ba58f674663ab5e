package plugin

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/gpdedup/gpdedup/repo"
)

// maxOffsets bounds the offsets file in bytes: a million tables.
const maxOffsets = 64 << 20

func readOffsets(path string) ([]repo.Range, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("read offsets: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxOffsets+1))
	if err != nil {
		return nil, usagef("read offsets %s: %w", path, err)
	}
	if len(data) > maxOffsets {
		return nil, usagef("read offsets %s: it is longer than %d bytes", path, maxOffsets)
	}
	ranges, err := parseOffsets(string(data))
	if err != nil {
		return nil, usagef("read offsets %s: %w", path, err)
	}
	return ranges, nil
}

// parseOffsets reads what gpbackup_helper writes: "N s1 e1 s2 e2 …", N half-open
// ranges of a stream's uncompressed bytes. Their order is the order in which they
// are wanted, and they may overlap. The result is not nil.
func parseOffsets(text string) ([]repo.Range, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, fmt.Errorf("it is empty")
	}
	numbers := make([]uint64, len(words))
	for i, w := range words {
		var err error
		// No sign, no blank: what ParseUint refuses nobody means.
		if numbers[i], err = strconv.ParseUint(w, 10, 63); err != nil {
			return nil, fmt.Errorf("%.40q is not an offset", w)
		}
	}
	rest := numbers[1:]
	if len(rest)%2 != 0 || numbers[0] != uint64(len(rest)/2) {
		return nil, fmt.Errorf("it announces %d ranges, and %d numbers follow", numbers[0], len(rest))
	}
	ranges := make([]repo.Range, 0, len(rest)/2)
	for i := 0; i < len(rest); i += 2 {
		if rest[i] > rest[i+1] {
			return nil, fmt.Errorf("range %d-%d ends before it begins", rest[i], rest[i+1])
		}
		ranges = append(ranges, repo.Range{Start: rest[i], End: rest[i+1]})
	}
	return ranges, nil
}
