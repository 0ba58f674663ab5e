package quick

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestFetch: a segment is moved to where the server wants it if nothing happened to it, and
// the process that fetched it is told.
func TestFetch(t *testing.T) {
	w := newWorld(t)
	const system = 7710803972629606051
	spool := filepath.Join(w.cache, "spool")
	w.must(os.MkdirAll(spool, 0o700))
	control := func(id uint64) {
		w.must(os.WriteFile("global/pg_control", binary.NativeEndian.AppendUint64(nil, id), 0o600))
	}
	control(system)
	dest := filepath.Join("pg_wal", "RECOVERYXLOG")
	args := []string{"wal", "fetch", "--cache-dir", w.cache, segment, dest}
	c := w.call(args...)
	var held string
	prepare := func(when time.Time) {
		part := filepath.Join(spool, segment+PartSuffix)
		w.must(os.WriteFile(part, make([]byte, MinSize), 0o600))
		w.must(os.Chtimes(part, when, when))
		held = filepath.Join(spool, HeldName(segment, "0123456789abcdef0123", when))
		w.must(os.Rename(part, held))
		w.must(c.LeaveFetch(spool, w.data, system))
	}
	w.must(syscall.Mkfifo(filepath.Join(spool, BellFile), 0o600))
	bell, err := syscall.Open(filepath.Join(spool, BellFile), syscall.O_RDWR|syscall.O_NONBLOCK, 0)
	w.must(err)
	defer syscall.Close(bell)
	rung := func() bool { n, _ := syscall.Read(bell, make([]byte, 10)); return n == 1 }

	if Serve(args) {
		t.Error("without a ticket")
	}
	prepare(time.Now())
	if !Serve(args) || !rung() {
		t.Error("all is well")
	}
	if info, err := os.Stat(dest); err != nil || info.Size() != MinSize {
		t.Error(err)
	}
	if r, ok := Last(spool); !ok || r != (Request{segment, MinSize, false}) {
		t.Errorf("%+v", r)
	}
	if Serve(args) || rung() {
		t.Error("without a segment")
	}
	for what, change := range map[string]func(){
		"it changed":             func() { w.must(os.Chtimes(held, time.Time{}, time.Now())) },
		"the machine went down":  func() { w.must(os.Rename(held, held[:len(held)-8]+"01234567")) },
		"it may have done so":    func() { w.must(os.Rename(held, held[:len(held)-8])) },
		"not whole yet":          func() { w.must(os.Rename(held, filepath.Join(spool, segment+PartSuffix))) },
		"another cluster":        func() { control(system + 1) },
		"no cluster":             func() { w.must(os.Remove("global/pg_control")) },
		"a directory there":      func() { w.must(os.Mkdir(dest, 0o700)) },
		"a link there":           func() { w.must(os.Symlink("/dev/null", dest)) },
		"others may write there": func() { w.must(os.Chmod(spool, 0o777)) },
		"a ticket without a cluster": func() {
			w.must(c.leave(spool, w.data))
		},
	} {
		_ = os.Remove(dest)
		prepare(time.Now())
		change()
		if Serve(args) || rung() {
			t.Errorf("%s: answered", what)
		}
		control(system)
		w.must(os.Chmod(spool, 0o700))
		left, _ := filepath.Glob(filepath.Join(spool, segment+".*"))
		if len(left) != 1 {
			t.Errorf("%s: %v are left", what, left)
		}
		for _, f := range left {
			w.must(os.Remove(f))
		}
	}
	_ = os.Remove(dest)
	prepare(time.Now().Add(-time.Hour))
	if Serve(args) {
		t.Error("what has lain there for an hour is answered")
	}
}

// TestAwait: a segment that is being fetched is waited for as long as somebody fetches it.
func TestAwait(t *testing.T) {
	t.Parallel()
	spool := t.TempDir()
	part := filepath.Join(spool, segment+PartSuffix)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	found := func(patience time.Duration, done <-chan struct{}) bool {
		_, ok := Await(done, spool, segment, patience)
		return ok
	}
	must(os.WriteFile(part, nil, 0o600))
	if found(time.Hour, nil) {
		t.Error("nobody fetches it")
	}
	lock, err := os.Create(filepath.Join(spool, LockFile))
	must(err)
	defer lock.Close()
	must(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	if found(10*time.Millisecond, nil) {
		t.Error("it is not there")
	}
	done := make(chan struct{})
	close(done)
	if found(time.Hour, done) {
		t.Error("nobody waits for it")
	}
	ended := make(chan bool)
	go func() { ended <- found(time.Hour, nil) }()
	must(os.Rename(part, filepath.Join(spool, HeldName(segment, "0123456789abcdef", time.Now()))))
	if !<-ended {
		t.Error("it is there")
	}
	must(os.RemoveAll(spool))
	must(os.Mkdir(spool, 0o700))
	if found(time.Hour, nil) {
		t.Error("it is not even coming")
	}
}

// TestServed: which way a server goes follows from what it asked for last.
func TestServed(t *testing.T) {
	t.Parallel()
	spool := t.TempDir()
	name := func(digits string) string { return segment[:22] + digits }
	for _, test := range []struct {
		digits string
		size   uint32
		back   bool
	}{
		{"07", MinSize, false},
		{"08", MinSize, false},
		{"07", MinSize, true},
		{"07", MinSize, true}, // again
		{"08", MinSize, false},
		{"07", 2 * MinSize, false}, // another size is another server
		{"06", 2 * MinSize, true},
	} {
		if err := Served(spool, name(test.digits), test.size); err != nil {
			t.Fatal(err)
		}
		if r, ok := Last(spool); !ok || r != (Request{name(test.digits), test.size, test.back}) {
			t.Errorf("%+v: %+v", test, r)
		}
	}
	for _, text := range []string{"", "x", segment + " 7 on", segment + " 1048576", "x 1048576 on"} {
		_ = os.Remove(filepath.Join(spool, LastFile))
		if text != "" {
			_ = os.Symlink(text, filepath.Join(spool, LastFile))
		}
		if r, ok := Last(spool); ok {
			t.Errorf("%q: %+v", text, r)
		}
	}
}
