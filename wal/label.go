package wal

import (
	"errors"
	"fmt"
	"strings"
)

// ErrLabel: the content of a .backup file makes no sense.
var ErrLabel = errors.New("not a valid backup label")

// Label is what the server writes into the archive when a base backup is done.
type Label struct {
	Start, Stop  LSN
	First, Last  Name   // segments that hold Start and Stop
	Label        string // as whoever took the backup named it
	StartTime    string // as the server wrote it
	HasStopPoint bool
}

// ParseLabel reads a .backup file. The error wraps ErrLabel.
func ParseLabel(data []byte) (Label, error) {
	var l Label
	var started bool
	for line := range strings.Lines(string(data)) {
		key, value, found := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		if !found {
			continue
		}
		var err error
		switch key {
		case "START WAL LOCATION":
			l.Start, l.First, err = parsePoint(value)
			started = true
		case "STOP WAL LOCATION":
			l.Stop, l.Last, err = parsePoint(value)
			l.HasStopPoint = true
		case "LABEL":
			l.Label = value
		case "START TIME":
			l.StartTime = value
		}
		if err != nil {
			return Label{}, fmt.Errorf("%w: %s: %w", ErrLabel, key, err)
		}
	}
	if !started {
		return Label{}, fmt.Errorf("%w: it has no START WAL LOCATION", ErrLabel)
	}
	return l, nil
}

// parsePoint reads "0/2000028 (file 000000010000000000000002)".
func parsePoint(s string) (LSN, Name, error) {
	at, rest, _ := strings.Cut(s, " ")
	lsn, err := ParseLSN(at)
	if err != nil {
		return 0, Name{}, err
	}
	file, opened := strings.CutPrefix(rest, "(file ")
	file, closed := strings.CutSuffix(file, ")")
	n, err := ParseName(file)
	if err == nil && (!opened || !closed || n.Kind != Segment) {
		err = fmt.Errorf("%.80q names no segment", s)
	}
	return lsn, n, err
}
