//go:build linux

// Package results is what a measurement found, as it is kept in a JSON file: so tables and plots can be drawn again
// without measuring again, and one topic can be measured anew while the others stay.
package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/machine"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/sample"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// Results are the topics that were measured, by name.
type Results struct {
	Topics map[string]*Topic `json:"topics"`
}

// Topic is what was measured together.
type Topic struct {
	Taken    machine.Taken       `json:"taken"`
	Rounds   int                 `json:"rounds"`
	Programs []contender.Program `json:"programs"` // that took part; gpdedup is the first
	Notes    []string            `json:"notes,omitempty"`
	Runs     []*Run              `json:"runs"`
}

// Run is one thing that one program did, once a round.
type Run struct {
	Program string        `json:"program"`
	Phase   string        `json:"phase"`
	Bytes   int64         `json:"bytes,omitempty"`   // that went in, or came out, each round
	Streams int           `json:"streams,omitempty"` // the same, where one is small and they are many
	Wall    sample.Sample `json:"wall_seconds,omitempty"`
	CPU     sample.Sample `json:"cpu_seconds,omitempty"`
	Peak    sample.Sample `json:"peak_rss_bytes,omitempty"`
	Anon    sample.Sample `json:"peak_anonymous_bytes,omitempty"`
	Stored  sample.Sample `json:"stored_bytes,omitempty"` // what the repository takes afterwards
}

// Run returns the run of a program in a phase, which it makes if there is none.
func (t *Topic) Run(program, phase string) *Run {
	if r := t.Find(program, phase); r != nil {
		return r
	}
	r := &Run{Program: program, Phase: phase}
	t.Runs = append(t.Runs, r)
	return r
}

// Find returns the run of a program in a phase, or nil. A nil topic has none.
func (t *Topic) Find(program, phase string) *Run {
	if t == nil {
		return nil
	}
	for _, r := range t.Runs {
		if r.Program == program && r.Phase == phase {
			return r
		}
	}
	return nil
}

// Add adds what a round took, for so many bytes.
func (r *Run) Add(u process.Usage, bytes int64) {
	r.Bytes = bytes
	r.Wall = append(r.Wall, u.Wall.Seconds())
	r.CPU = append(r.CPU, u.CPU.Seconds())
	if u.Peak > 0 {
		r.Peak = append(r.Peak, float64(u.Peak))
		r.Anon = append(r.Anon, float64(u.Anon))
	}
}

// Figure is something to compare of a run. A nil run has none.
type Figure func(*Run) sample.Sample

// Rate is MB a second.
func Rate(r *Run) sample.Sample {
	if r == nil {
		return nil
	}
	return r.Wall.Map(func(s float64) float64 { return float64(r.Bytes) / size.Mega / s })
}

// StreamRate is streams a second.
func StreamRate(r *Run) sample.Sample {
	if r == nil {
		return nil
	}
	return r.Wall.Map(func(s float64) float64 { return float64(r.Streams) / s })
}

// StreamTime is milliseconds a stream.
func StreamTime(r *Run) sample.Sample {
	if r == nil {
		return nil
	}
	return r.Wall.Map(func(s float64) float64 { return s * 1000 / float64(max(1, r.Streams)) })
}

// Wall is seconds.
func Wall(r *Run) sample.Sample {
	if r == nil {
		return nil
	}
	return r.Wall
}

// CPU is seconds of all processors together.
func CPU(r *Run) sample.Sample {
	if r == nil {
		return nil
	}
	return r.CPU
}

// CPUPerGB is seconds of all processors for a GB that goes in or comes out.
func CPUPerGB(r *Run) sample.Sample {
	if r == nil || r.Bytes == 0 {
		return nil
	}
	return r.CPU.Map(func(s float64) float64 { return s * size.Giga / float64(r.Bytes) })
}

// Peak is the resident memory, in MiB.
func Peak(r *Run) sample.Sample {
	if r == nil {
		return nil
	}
	return r.Peak.Map(func(b float64) float64 { return b / size.Mebi })
}

// Anon is the anonymous memory, in MiB.
func Anon(r *Run) sample.Sample {
	if r == nil {
		return nil
	}
	return r.Anon.Map(func(b float64) float64 { return b / size.Mebi })
}

// Stored is what the repository takes, in MB.
func Stored(r *Run) sample.Sample {
	if r == nil {
		return nil
	}
	return r.Stored.Map(func(b float64) float64 { return b / size.Mega })
}

// Best is the peer whose figure in a phase has the best median; "" if there is none. The greatest is the best, or the
// least.
func (t *Topic) Best(phase string, figure Figure, greatest bool) (best string) {
	if t == nil {
		return ""
	}
	var value float64
	for _, p := range t.Programs {
		if p.Name == contender.Gpdedup {
			continue
		}
		if s := figure(t.Find(p.Name, phase)); len(s) > 0 && (best == "" || (s.Median() > value) == greatest) {
			best, value = p.Name, s.Median()
		}
	}
	return best
}

// Read reads the file. One that is not there holds nothing.
func Read(path string) (*Results, error) {
	r := &Results{Topics: map[string]*Topic{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if r.Topics == nil {
		return nil, fmt.Errorf("read %s: it has no topics", path)
	}
	return r, nil
}

// Write writes the file, and its directory if need be.
func (r *Results) Write(path string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// One run a line: to be read by people, and to differ by what differs.
	data = bytes.ReplaceAll(data, []byte(`{"program":`), []byte("\n"+`{"program":`))
	data = bytes.ReplaceAll(data, []byte(`"taken":`), []byte("\n"+`"taken":`))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(path), append(data, '\n'), 0o644)
}
