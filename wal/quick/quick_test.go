package quick

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const segment = "000000010000000000000007"

// world is a data directory, which is the working directory, and a cache.
type world struct {
	*testing.T
	cache, data string
}

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	w := &world{T: t, cache: filepath.Join(dir, "cache"), data: filepath.Join(dir, "data")}
	for _, d := range []string{"pg_wal", "global"} {
		w.must(os.MkdirAll(filepath.Join(w.data, d), 0o700))
	}
	t.Chdir(w.data)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) call(args ...string) Call {
	w.Helper()
	c, ok := ParseCall(args)
	if !ok {
		w.Fatalf("%v: no call", args)
	}
	return c
}

func TestParseCall(t *testing.T) {
	w := newWorld(t)
	line := func(s string) []string { return strings.Fields(s) }
	for _, s := range []string{
		"wal push pg_wal/" + segment, "wal push --cluster main pg_wal/" + segment + " --repo /r",
		"wal fetch " + segment + " pg_wal/RECOVERYXLOG", "wal fetch --cache-dir /c --content=-1 " + segment + " pg_wal/RECOVERYXLOG --prefetch 1MiB",
	} {
		c := w.call(line(s)...)
		if c.File != segment || !strings.HasPrefix(c.Path, "pg_wal/") {
			t.Errorf("%s: %+v", s, c)
		}
		if next := w.call(line(strings.ReplaceAll(s, segment, "00000001000000000000000A"))...); next.file() != c.file() || next.same != c.same {
			t.Errorf("%s: the next one differs: %q, %q", s, next.same, c.same)
		}
	}
	for _, s := range []string{
		"", "wal", "wal push", "wal push --repo /r", "wal fetch " + segment, "wal fetch pg_wal/RECOVERYXLOG", "wal list " + segment + " x",
		"wal push pg_wal/" + segment + ".partial", "wal push pg_wal/00000002.history", "wal fetch 00000002.history pg_wal/RECOVERYHISTORY",
		"wal fetch " + segment + " /tmp/" + segment, "wal push pg_wal/" + segment + " pg_wal/" + segment, "wal fetch " + segment + " " + segment + " pg_wal/RECOVERYXLOG",
		"wal push --config /c pg_wal/" + segment, "wal push --config=/c pg_wal/" + segment, "--repo /r wal push pg_wal/" + segment,
		"wal push pg_wal/00000000" + segment[8:], "wal push pg_wal/00000001000000000000000a",
	} {
		if c, ok := ParseCall(line(s)); ok {
			t.Errorf("%s: %+v", s, c)
		}
	}
	// All that the answer may depend on tells calls apart.
	push := line("wal push pg_wal/" + segment)
	files := map[string]string{}
	differs := func(what string, args ...string) {
		c := w.call(args...)
		if before, taken := files[c.file()]; taken {
			t.Errorf("%s is as %s", what, before)
		}
		files[c.file()] = what
	}
	t.Setenv("GPDEDUP_CACHE_DIR", w.cache)
	differs("push", push...)
	differs("a flag", append(push, "--content=1")...)
	differs("another directory", "wal", "push", "pg_xlog/"+segment)
	differs("fetch", line("wal fetch "+segment+" pg_wal/RECOVERYXLOG")...)
	for _, v := range []string{"GPDEDUP_REPO", "GPDEDUP_ANYTHING", "HOME", "XDG_CACHE_HOME"} {
		t.Setenv(v, "/x")
		differs(v, push...)
	}
	t.Chdir(filepath.Join(w.data, "global"))
	differs("another working directory", push...)
}

// TestPassword: a password is not written to the disk, in whatever form: not even the ticket's name
// depends on it.
func TestPassword(t *testing.T) {
	w := newWorld(t)
	args := []string{"wal", "push", "--cache-dir", w.cache, "pg_wal/" + segment}
	t.Setenv("GPDEDUP_PASSWORD", "correct horse")
	c := w.call(args...)
	w.must(c.LeavePush("/records", "/repository"))
	text, err := os.ReadFile(c.file())
	w.must(err)
	if bytes.Contains(text, []byte("correct horse")) {
		t.Errorf("the ticket has the password: %q", text)
	}
	t.Setenv("GPDEDUP_PASSWORD", "another")
	if other := w.call(args...); other.file() != c.file() {
		t.Error("the ticket's name depends on the password")
	}
}

// TestHang: what hangs is left to the whole program, which gives up some time.
func TestHang(t *testing.T) {
	w := newWorld(t)
	args := []string{"wal", "push", "--cache-dir", w.cache, "pg_wal/" + segment}
	records := filepath.Join(w.cache, "records")
	w.must(os.Mkdir(w.cache, 0o700))
	w.must(os.Mkdir(records, 0o700))
	c := w.call(args...)
	w.must(c.LeavePush(records, "/repository"))
	record := filepath.Join(records, segment)
	w.must(syscall.Mkfifo(record, 0o600))
	ended := make(chan bool, 1)
	go func() { ended <- serve(args, 10*time.Millisecond) }()
	select {
	case served := <-ended:
		if served {
			t.Error("answered")
		}
	case <-time.After(30 * time.Second):
		t.Error("it hangs")
	}
	f, err := os.OpenFile(record, os.O_RDWR, 0) // ends the wait
	w.must(err)
	w.must(f.Close())
}

// TestPush: a call is answered if there is a record of the very file, and its object, and by
// whom others cannot write to; once.
func TestPush(t *testing.T) {
	w := newWorld(t)
	records, repository := filepath.Join(w.cache, "records"), filepath.Join(w.cache, "repository")
	w.must(os.MkdirAll(filepath.Join(repository, "wal"), 0o700))
	w.must(os.MkdirAll(records, 0o700))
	file, key := filepath.Join("pg_wal", segment), "wal/object of the segment"
	object := filepath.Join(repository, key)
	args := []string{"wal", "push", "--cache-dir", w.cache, file}
	w.must(os.WriteFile(file, make([]byte, 4096), 0o600))
	w.must(os.WriteFile(object, make([]byte, 100), 0o600))
	c := w.call(args...)
	record := filepath.Join(records, segment)
	prepare := func() {
		info, err := os.Stat(file)
		w.must(err)
		w.must((&Record{File: Identify(info), Key: key, Stored: 100}).Write(record))
		w.must(c.LeavePush(records, repository))
	}
	left := func() bool { _, err := os.Stat(record); return err == nil }
	if Serve(args) {
		t.Error("without a ticket")
	}
	prepare()
	if !Serve(args) || left() {
		t.Error("all is well")
	}
	if Serve(args) {
		t.Error("without a record")
	}
	for what, change := range map[string]func(){
		"the file changed":        func() { w.must(os.WriteFile(file, make([]byte, 4097), 0o600)) },
		"another file":            func() { w.must(os.Rename(file, file+"x")); w.must(os.WriteFile(file, make([]byte, 4096), 0o600)) },
		"touched":                 func() { w.must(os.Chtimes(file, time.Time{}, time.Unix(1, 0))) },
		"no file":                 func() { w.must(os.Remove(file)) },
		"a shorter object":        func() { w.must(os.Truncate(object, 99)) },
		"no object":               func() { w.must(os.Remove(object)) },
		"an object that is a dir": func() { w.must(os.Remove(object)); w.must(os.Mkdir(object, 0o700)) },
		"a record of nothing":     func() { w.must(os.WriteFile(record, []byte("1 0 0 0 0 0 100 "+key+"\n"), 0o600)) },
		"an old record":           func() { w.must(os.WriteFile(record, []byte(`{"file":{}}`), 0o600)) },
		"an empty record":         func() { w.must(os.Truncate(record, 0)) },
		"others may write there":  func() { w.must(os.Chmod(records, 0o770)) },
		"and there":               func() { w.must(os.Chmod(filepath.Join(w.cache, "wal", "calls"), 0o702)) },
		"a link":                  func() { w.must(os.Rename(records, records+"x")); w.must(os.Symlink(records+"x", records)) },
		"a ticket of another version": func() {
			text, err := os.ReadFile(c.file())
			w.must(err)
			w.must(os.WriteFile(c.file(), bytes.Replace(text, []byte("call 1"), []byte("call 2"), 1), 0o600))
		},
		"a ticket of another call": func() {
			other := w.call(append(args, "--new-epoch")...)
			w.must(other.LeavePush(records, repository))
			w.must(os.Rename(other.file(), c.file()))
		},
	} {
		prepare()
		change()
		if Serve(args) {
			t.Errorf("%s: answered", what)
		}
		_ = os.RemoveAll(records + "x")
		_ = os.RemoveAll(records)
		_ = os.RemoveAll(object)
		w.must(os.MkdirAll(records, 0o700))
		w.must(os.Chmod(filepath.Join(w.cache, "wal", "calls"), 0o700))
		w.must(os.WriteFile(file, make([]byte, 4096), 0o600))
		w.must(os.WriteFile(object, make([]byte, 100), 0o600))
	}
	prepare()
	if !Serve(args) {
		t.Error("all is well again")
	}
}

// TestRecord: a record comes back, and bytes that are none are none.
func TestRecord(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "record")
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		r := Record{File: Identity{Dev: rng.Uint64(), Ino: rng.Uint64(), Size: rng.Int64(), Mtime: -rng.Int64(), Ctime: rng.Int64()}, Stored: rng.Int64(), Key: "wal/a key"}
		if err := r.Write(file); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := parseRecord(string(text)); !ok || got != r {
			t.Fatalf("%+v came back as %+v", r, got)
		}
		text[rng.IntN(len(text))] ^= byte(1 + rng.IntN(255))
		if got, ok := parseRecord(string(text)); ok && got == r && text[len(text)-1] == '\n' {
			t.Fatalf("%q is %+v", text, got)
		}
		if _, ok := parseRecord(string(text[:rng.IntN(len(text)-len(r.Key)-1)])); ok {
			t.Fatal("a part of it is taken for whole")
		}
	}
}
