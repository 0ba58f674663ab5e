package wal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrHistory: the content of a timeline history file makes no sense.
var ErrHistory = errors.New("not a valid timeline history")

// Branch is a line of a timeline's history: an ancestor, and where it was left.
type Branch struct {
	Timeline uint32 `json:"timeline"`
	End      LSN    `json:"-"` // the first address that is of the next timeline
	Reason   string `json:"reason,omitempty"`
}

// ParseHistory reads a timeline history file: the ancestors of the timeline, oldest
// first. It takes what PostgreSQL takes (timeline.c): comments and empty lines, and
// timelines that ascend. The error wraps ErrHistory.
func ParseHistory(timeline uint32, data []byte) ([]Branch, error) {
	var branches []Branch
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		tli, rest, _ := strings.Cut(strings.ReplaceAll(line, " ", "\t"), "\t")
		at, _, _ := strings.Cut(strings.TrimLeft(rest, "\t"), "\t")
		t, err := strconv.ParseUint(tli, 10, 32)
		if err != nil || t == 0 {
			return nil, fmt.Errorf("%w: %.80q does not begin with a timeline", ErrHistory, line)
		}
		end, err := ParseLSN(at)
		if err != nil {
			return nil, fmt.Errorf("%w: %.80q: %w", ErrHistory, line, err)
		}
		b := Branch{Timeline: uint32(t), End: end}
		if i := strings.Index(line, at); i >= 0 {
			b.Reason = strings.TrimSpace(line[i+len(at):])
		}
		if n := len(branches); n > 0 && branches[n-1].Timeline >= b.Timeline {
			return nil, fmt.Errorf("%w: timeline %d comes after %d", ErrHistory, b.Timeline, branches[n-1].Timeline)
		}
		branches = append(branches, b)
	}
	if n := len(branches); n > 0 && branches[n-1].Timeline >= timeline {
		return nil, fmt.Errorf("%w: timeline %d names %d as its ancestor", ErrHistory, timeline, branches[n-1].Timeline)
	}
	return branches, nil
}
