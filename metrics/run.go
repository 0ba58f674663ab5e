package metrics

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Run is one run of a command. Its methods may be called from any goroutine, and on nil.
type Run struct {
	path    string
	command string
	started time.Time

	mu         sync.Mutex
	namespace  string
	repository string
	changes    []change
	ended      bool
}

// change is what a run does to a sample.
type change struct {
	id     ID
	labels []string // values of the metric's own labels
	value  float64
	// afresh: samples that earlier runs of this command left of the metric are gone.
	afresh bool
}

// Begin begins a run of a command. The path is that of a file, or of a directory, in which
// there is then a file for each command and namespace; where it is empty nothing is
// counted, and the result is nil.
func Begin(path, command string, started time.Time) *Run {
	if path == "" {
		return nil
	}
	return &Run{path: path, command: command, started: started}
}

// Describe says which repository the run is about: its location, and the namespace.
func (r *Run) Describe(namespace, repository string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.namespace, r.repository = namespace, repository
}

// Add adds to a counter. labels are the values of the metric's own labels, in order.
func (r *Run) Add(id ID, value float64, labels ...string) { r.change(change{id, labels, value, false}) }

// Set sets a gauge.
func (r *Run) Set(id ID, value float64, labels ...string) { r.change(change{id, labels, value, false}) }

// SetTime sets a gauge that is a time; one that is zero is left out.
func (r *Run) SetTime(id ID, at time.Time, labels ...string) {
	if !at.IsZero() {
		r.Set(id, seconds(at), labels...)
	}
}

// Afresh removes the samples that earlier runs of the command on this repository left of a
// gauge: those with labels that this run does not set are of what is there no more.
func (r *Run) Afresh(id ID) { r.change(change{id: id, afresh: true}) }

func (r *Run) change(c change) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, c)
}

// Stream is what storing streams took, in bytes and chunks.
type Stream struct {
	Streams                        int
	Bytes, New, Stored             uint64
	Chunks, NewChunks, DeltaChunks uint64
}

// Stored counts what was stored.
func (r *Run) Stored(s Stream) {
	if r == nil {
		return
	}
	for _, x := range []struct {
		id    ID
		value uint64
	}{
		{StreamsStored, uint64(s.Streams)},
		{ReadBytes, s.Bytes},
		{NewBytes, s.New},
		{DeduplicatedBytes, s.Bytes - min(s.New, s.Bytes)},
		{StoredBytes, s.Stored},
		{Chunks, s.Chunks},
		{NewChunks, s.NewChunks},
		{DeltaChunks, s.DeltaChunks},
	} {
		r.Add(x.id, float64(x.value))
	}
}

// Restored counts streams that were read back or verified.
func (r *Run) Restored(streams int, bytes uint64) {
	r.Add(StreamsRestored, float64(streams))
	r.Add(RestoredBytes, float64(bytes))
}

// patience is how long a command waits at most for its numbers to be written: nothing but
// a file system that hangs, or a process that was stopped while it held the lock, takes
// that long.
const patience = 250 * time.Millisecond

var errSlow = errors.New("the file of metrics does not answer")

// End ends the run with the exit code of the process, and writes its numbers. The error is
// for a log: nothing depends on it. Only the first call does anything.
func (r *Run) End(code int) error {
	if r == nil {
		return nil
	}
	now := time.Now()
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return nil
	}
	r.ended = true
	took := now.Sub(r.started).Seconds()
	// So that Prometheus sees the first failure as growth: a sample that was not there
	// before has not grown.
	for _, c := range usualCodes(r.command) {
		r.changes = append(r.changes, change{Runs, []string{c}, 0, false})
	}
	r.changes = append(r.changes,
		change{Runs, []string{strconv.Itoa(code)}, 1, false}, change{LastRun, nil, seconds(now), false}, change{LastExitCode, nil, float64(code), false},
		change{LastDuration, nil, took, false}, change{RunSeconds, nil, took, false})
	if code == 0 {
		r.changes = append(r.changes, change{LastSuccess, nil, seconds(now), false})
	}
	f := &file{path: filePath(r.path, r.command, r.namespace)}
	update := r.update()
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.merge(ctx, update) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select { // it leaves its numbers beside the file
	case err := <-done:
		return err
	case <-time.After(patience):
		return errSlow
	}
}

// usualCodes are the exit codes that a command has reasons to end with.
func usualCodes(command string) []string {
	if command == "wal fetch" {
		return []string{"0", "1", "200", "201", "202", "203", "204"}
	}
	return []string{"0", "1", "2", "3", "4", "5"}
}

// update turns the changes into what a file understands.
func (r *Run) update() *samples {
	all := definitions()
	out := newSamples()
	for _, c := range r.changes {
		m := &all[c.id]
		set := out.of(m.Name)
		set.kind, set.help = m.Kind, m.Help
		if c.afresh {
			set.afresh = append(set.afresh, labelText("command", r.command, "repository", r.repository))
			continue
		}
		pairs := []string{"command", r.command}
		if !slices.Contains(m.Labels, "namespace") {
			pairs = append(pairs, "namespace", r.namespace)
		}
		pairs = append(pairs, "repository", r.repository)
		for i, label := range m.Labels {
			value := ""
			if i < len(c.labels) {
				value = c.labels[i]
			}
			pairs = append(pairs, label, value)
		}
		key := labelText(pairs...)
		if m.Kind == Counter {
			set.values[key] += c.value
		} else {
			set.values[key] = c.value
		}
	}
	return out
}

// seconds is a moment as Prometheus has them.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
