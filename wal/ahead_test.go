package wal

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// backlog makes a data directory with n segments that are ready, and what pushes them.
func (w *world) backlog(n int) (p *Pusher, files []string) {
	w.Helper()
	d := w.newDataDir(testSystem, 1)
	w.must(os.MkdirAll(d.path("pg_wal", "archive_status"), 0o700))
	for i := range n {
		file := seg(1, uint32(i+1))
		w.must(os.WriteFile(d.path("pg_wal", file), w.segment(file), 0o600))
		w.must(os.WriteFile(d.path("pg_wal", "archive_status", file+readySuffix), nil, 0o600))
		files = append(files, d.path("pg_wal", file))
	}
	return &Pusher{
		Namespace: "main", Content: DefaultContent, Records: w.TempDir(), Packer: w.pack, Storage: w.st,
		Open: func(context.Context) (*repo.Repo, error) { return w.repo, nil },
	}, files
}

// stored returns how many segments are in the archive.
func (w *world) stored() (n int) {
	for _, key := range w.st.Keys() {
		if strings.HasPrefix(key, "wal/") {
			n++
		}
	}
	return n
}

// TestPushAheadWaits: what is pushed ahead is not stored before the call that began that says that its
// own file is there, and never if it does not.
func TestPushAheadWaits(t *testing.T) {
	w := newWorld(t, false)
	p, files := w.backlog(9)
	others := openClaims(p.openRecords(DataDirOf(files[0]).path("pg_wal")).dir + ".claims")
	defer others.close()
	run := func(say func(pipe *io.PipeWriter)) {
		t.Helper()
		read, write := io.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- p.PushAhead(t.Context(), files[0], read) }()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if others.taken(byteOf(mustName(t, seg(1, 9)))) {
				break
			}
			if time.Now().After(end) {
				t.Fatal("nothing is pushed ahead")
			}
		}
		for i := range files { // whoever asks for the cores after others gets them after those
			w.must(w.put(testSystem, seg(2, uint32(i+1)), w.segment(seg(2, uint32(i+1)))))
		}
		if n := w.stored(); n != len(files) {
			t.Errorf("%d are stored before anything is said", n)
		}
		say(write)
		w.must(<-ended)
	}
	run(func(pipe *io.PipeWriter) { w.must(pipe.Close()) })
	if n := w.stored(); n != len(files) {
		t.Errorf("%d are stored although nothing was said", n)
	}
	run(func(pipe *io.PipeWriter) { _, err := pipe.Write([]byte{'\n'}); w.must(err) })
	if n := w.stored(); n != 2*len(files)-1 {
		t.Errorf("%d are stored", n)
	}
}
