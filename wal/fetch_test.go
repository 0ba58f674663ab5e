package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// newDataDir makes what a fetch looks at of a server's data directory.
func (w *world) newDataDir(system SystemID, timeline uint32) DataDir {
	w.Helper()
	dir := w.TempDir()
	for _, sub := range []string{"global", "pg_wal"} {
		w.must(os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	w.must(os.WriteFile(ControlPath(dir), serversControl(system, timeline), 0o600))
	return DataDir(dir)
}

func serversControl(system SystemID, timeline uint32) []byte {
	data := make([]byte, 8192)
	le := binary.LittleEndian
	le.PutUint64(data, uint64(system))
	le.PutUint32(data[8:], 1300)
	le.PutUint32(data[48:], timeline)
	le.PutUint32(data[288:], crc32.Checksum(data[:288], castagnoli))
	return data
}

type noClose struct{}

func (noClose) Close() error { return nil }

// fetch is a fetch as the server at d asks for it.
func (w *world) fetch(d DataDir, file string) *Fetch {
	return &Fetch{
		File: file, Dest: d.path("pg_wal", "RECOVERYXLOG"),
		Open: func(context.Context, SystemID, Name) (*Archive, io.Closer, error) { return w.a, noClose{}, nil },
	}
}

func (w *world) segment(file string) []byte {
	return segment(testSystem, mustName(w, file), MinSegmentSize, 1)
}

func (w *world) archive(files ...string) {
	w.Helper()
	for _, f := range files {
		w.must(w.put(testSystem, f, w.segment(f)))
	}
}

// TestEnd: what a server that takes it for the end of the WAL is told of a file that
// is absent.
func TestEnd(t *testing.T) {
	const (
		six, seven, eight = "000000010000000000000006", "000000010000000000000007", "000000010000000000000008"
		eightOn2, nineOn2 = "000000020000000000000008", "000000020000000000000009"
	)
	for _, test := range []struct {
		name    string
		archive []string
		history map[string]string
		file    string
		own     string // segment in the server's pg_wal
		want    int
	}{
		{"last one", []string{six}, nil, seven, "", 1},
		{"hole", []string{six, eight}, nil, seven, "", ExitHole},
		{"hole far away", []string{six, "000000010000000700000000"}, nil, seven, "", ExitHole},
		{"hole that the server can fill", []string{six, eight}, nil, seven, seven, 1},
		{"only part of it", []string{six, seven + ".partial"}, nil, seven, "", 1},
		{"only part of a later one", []string{six, eight + ".partial"}, nil, seven, "", ExitHole},
		{"before all", []string{seven}, nil, six, "", ExitHole},
		{"later on another timeline without history", []string{six, nineOn2}, nil, seven, "", 1},
		{
			"a later timeline left within it",
			[]string{six, eightOn2},
			map[string]string{"00000002.history": "1\t0/780000\tno recovery target specified\n"},
			seven, "", 1,
		},
		{
			"a later timeline left at its end",
			[]string{six, eightOn2},
			map[string]string{"00000002.history": "1\t0/800000\tno recovery target specified\n"},
			seven, "", ExitHole,
		},
		{
			"a later timeline left behind it",
			[]string{six, nineOn2},
			map[string]string{"00000002.history": "1\t0/880000\tx\n"},
			seven, "", ExitHole,
		},
		{
			"a grandchild left behind it",
			[]string{six},
			map[string]string{"00000003.history": "1\t0/880000\tx\n2\t0/900000\ty\n"},
			seven, "", ExitHole,
		},
		{
			"a timeline that went another way",
			[]string{eightOn2},
			map[string]string{"00000003.history": "1\t0/100000\tx\n"},
			nineOn2, "", 1,
		},
		{"history of a timeline that is not", []string{six}, nil, "00000002.history", "", 1},
		{"history of a timeline with WAL", []string{six, eightOn2}, nil, "00000002.history", "", ExitHole},
		{"history of its own timeline", []string{six}, nil, "00000001.history", "", 1},
		{"nothing was ever archived", nil, nil, six, "", ExitUndecided},
		{"no history, and nothing was ever archived", nil, nil, "00000002.history", "", ExitUndecided},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, true)
			w.archive(test.archive...)
			for name, text := range test.history {
				w.must(w.put(testSystem, name, []byte(text)))
			}
			d := w.newDataDir(testSystem, 1)
			if test.own != "" {
				w.must(os.WriteFile(d.path("pg_wal", test.own), w.segment(test.own), 0o600))
			}
			err := w.fetch(d, test.file).Run(t.Context())
			if got := FetchExit(err); err == nil || got != test.want {
				t.Errorf("%s ends with %d (%v), want %d", test.file, got, err, test.want)
			}
			if _, err := os.Lstat(d.path("pg_wal", "RECOVERYXLOG")); err == nil {
				t.Error("a file was made")
			}
			// A standby is told at once, and nothing else counts.
			w.must(os.WriteFile(d.path("standby.signal"), nil, 0o600))
			if got := FetchExit(w.fetch(d, test.file).Run(t.Context())); got != 1 {
				t.Errorf("a standby is told %d", got)
			}
		})
	}
}

// TestOwnSegmentThatWasRecycled: a file in pg_wal that has only the right name does not
// fill a hole.
func TestOwnSegmentThatWasRecycled(t *testing.T) {
	const six, seven, eight = "000000010000000000000006", "000000010000000000000007", "000000010000000000000008"
	w := newWorld(t, false)
	w.archive(six, eight)
	d := w.newDataDir(testSystem, 1)
	for name, data := range map[string][]byte{
		"an older one": w.segment(six), "zeros": make([]byte, MinSegmentSize), "a part": w.segment(seven)[:8192],
		"another cluster's": segment(testSystem+1, mustName(t, seven), MinSegmentSize, 1),
	} {
		w.must(os.WriteFile(d.path("pg_wal", seven), data, 0o600))
		if err := w.fetch(d, seven).Run(t.Context()); !errors.Is(err, ErrHole) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhichCluster: a server gets files of its own system identifier only; without a
// server, those of the only one there is.
func TestWhichCluster(t *testing.T) {
	const file = "000000010000000000000006"
	w := newWorld(t, true)
	w.archive(file)
	if err := w.fetch(w.newDataDir(testSystem+1, 1), file).Run(t.Context()); FetchExit(err) != ExitForeign {
		t.Errorf("another cluster: %v", err)
	}
	dest := filepath.Join(t.TempDir(), "x")
	byHand := w.fetch("", file)
	byHand.Dest = dest
	w.must(byHand.Run(t.Context()))
	if got, err := os.ReadFile(dest); err != nil || !bytes.Equal(got, w.segment(file)) {
		t.Errorf("other bytes came out (%v)", err)
	}
	w.must(w.put(testSystem+1, file, segment(testSystem+1, mustName(t, file), MinSegmentSize, 1)))
	again := w.fetch("", file)
	again.Dest = dest
	if err := again.Run(t.Context()); FetchExit(err) != ExitUndecided {
		t.Errorf("two clusters: %v", err)
	}
	broken := w.newDataDir(testSystem, 1)
	w.must(os.WriteFile(ControlPath(string(broken)), make([]byte, 8192), 0o600))
	if err := w.fetch(broken, file).Run(t.Context()); FetchExit(err) != ExitUndecided {
		t.Errorf("a broken control file: %v", err)
	}
}

// TestPatience: a hole that is filled while it is waited for is none, and a repository
// that comes back was never away.
func TestPatience(t *testing.T) {
	const six, seven, eight = "000000010000000000000006", "000000010000000000000007", "000000010000000000000008"
	w := newWorld(t, true)
	w.archive(six, eight)
	d := w.newDataDir(testSystem, 1)
	f := w.fetch(d, seven)
	f.Patience = time.Hour
	tries := 0
	f.Open = func(context.Context, SystemID, Name) (*Archive, io.Closer, error) {
		switch tries++; tries {
		case 1:
			return nil, nil, errors.New("the network is down")
		case 3: // the second one found the hole
			w.archive(seven)
		}
		return w.a, noClose{}, nil
	}
	if err := f.Run(t.Context()); err != nil || tries != 3 {
		t.Errorf("%d tries, error %v", tries, err)
	}
	// A standby gets no patience, and damage is read twice.
	for _, test := range []struct {
		standby bool
		err     error
		tries   int
	}{
		{true, errors.New("the network is down"), 1},
		{false, fmt.Errorf("config: %w", repo.ErrDamaged), 2},
		{false, fmt.Errorf("key: %w", repo.ErrWrongKey), 1},
		{false, fmt.Errorf("format: %w", repo.ErrNewer), 1},
		{false, fmt.Errorf("flag: %w", repo.ErrUsage), 1},
	} {
		d := w.newDataDir(testSystem, 1)
		if test.standby {
			w.must(os.WriteFile(d.path("standby.signal"), nil, 0o600))
		}
		f := w.fetch(d, seven)
		f.Patience = time.Hour
		tries := 0
		f.Open = func(context.Context, SystemID, Name) (*Archive, io.Closer, error) { tries++; return nil, nil, test.err }
		if err := f.Run(t.Context()); !errors.Is(err, test.err) || tries != test.tries {
			t.Errorf("%v: %d tries, error %v", test.err, tries, err)
		}
	}
}

// TestFetchExit: only what was proved ends with 1.
func TestFetchExit(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{&EndError{}, 1},
		{fmt.Errorf("wal fetch: %w", &EndError{}), 1},
		{ErrAbsent, ExitUndecided},
		{fmt.Errorf("x: %w", ErrAbsent), ExitUndecided},
		{errors.New("anything"), ExitUndecided},
		{context.DeadlineExceeded, ExitUndecided},
		{repo.ErrNotRepository, ExitUndecided},
		{repo.ErrConflict, ExitUndecided},
		{fmt.Errorf("x: %w", repo.ErrDamaged), ExitCorrupt},
		{errors.Join(repo.ErrDamaged, repo.ErrNewer), ExitUndecided},
		{&HoleError{}, ExitHole},
		{&ForeignError{}, ExitForeign},
		{&EpochError{}, ExitForeign},
	} {
		if got := FetchExit(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
}

// TestDeliver: a file appears whole, in the place of what was there, or not at all.
func TestDeliver(t *testing.T) {
	dir := t.TempDir()
	dest := filepath.Join(dir, "RECOVERYXLOG")
	write := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			return errors.Join(err, func() error { _, err := io.WriteString(w, s); return err }())
		}
	}
	for i, durable := range []bool{false, true} {
		for _, text := range []string{"first", "second"} {
			if err := deliver(dest, durable, write(text, nil)); err != nil {
				t.Fatal(i, err)
			}
			if got, err := os.ReadFile(dest); err != nil || string(got) != text {
				t.Errorf("%q, %v; want %s", got, err, text)
			}
		}
		broken := errors.New("broken")
		if err := deliver(dest, durable, write("third", broken)); !errors.Is(err, broken) {
			t.Error(err)
		}
		if got, err := os.ReadFile(dest); err != nil || string(got) != "second" {
			t.Errorf("after a failure: %q, %v", got, err)
		}
		if err := os.Remove(dest); err != nil {
			t.Fatal(err)
		}
	}
	if err := deliver(filepath.Join(dir, "no", "such"), false, write("x", nil)); err == nil {
		t.Error("a file in a directory that does not exist")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestDataDirOf(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dest, want := range map[string]DataDir{
		"pg_wal/RECOVERYXLOG": DataDir(here), "pg_xlog/RECOVERYXLOG": DataDir(here),
		"/data/pg_wal/000000010000000000000001": "/data", "x": "", "/x": "", "pg_wal": "", "/data/base/1": "",
	} {
		if got := DataDirOf(dest); got != want {
			t.Errorf("%s: %q, want %q", dest, got, want)
		}
	}
}

func TestStandby(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "standby_mode = 'on'\n": true, "standby_mode=on": true, "  Standby_Mode 'yes' # why": true,
		"#standby_mode = 'on'\n": false, "standby_mode = 'on'\nstandby_mode = 'off'\n": false,
		"restore_command = 'standby_mode = on'\n": false,
	} {
		d := DataDir(t.TempDir())
		if err := os.WriteFile(d.path("recovery.conf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := d.Standby(); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if DataDir("").Standby() || DataDir(t.TempDir()).Standby() {
		t.Error("a standby without a sign of one")
	}
}
