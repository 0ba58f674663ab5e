package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/target"
)

// TestKill kills backup_data with SIGKILL at random points, while it reads, while
// it stores, and after the end of its input. Whatever is left, the repository is
// whole, every acknowledged stream restores, and one that is visible without having
// been acknowledged restores too.
func TestKill(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	acknowledged := make(map[string][]byte)
	data := rows(rng.Uint64(), 2<<20)
	for round := range 40 {
		// Mostly what is known, so that packs, fragments and the previous
		// manifest are all in play.
		at := rng.IntN(len(data))
		data = append(data[:at:at], append(rows(rng.Uint64(), 300<<10), data[at:]...)...)
		data = data[len(data)-2<<20:]
		timestamp := fmt.Sprintf("20261121%06d", round)
		path := w.backupDir(timestamp) + "/gpbackup_0_" + timestamp + "_1"
		if w.killed(rng, path, data) {
			// Again, to its end: what the killed process left must not be in the way.
			if r := finish(t, w.command("backup_data", w.config, path), data); r.code != 0 {
				t.Fatalf("round %d: after a kill: %+v", round, r)
			}
		}
		acknowledged[path] = data
	}
	w.mustBeWhole()
	for path, want := range acknowledged {
		if r := finish(t, w.command("restore_data", w.config, path), nil); r.code != 0 || r.stdout != string(want) {
			t.Errorf("%s: %d, %d of %d bytes, %s", path, r.code, len(r.stdout), len(want), r.stderr)
		}
	}
}

// killed runs backup_data, kills it somewhere on its way, and reports whether it
// came too late to do so.
func (w *world) killed(rng *rand.Rand, path string, data []byte) bool {
	w.t.Helper()
	cmd := w.command("backup_data", w.config, path)
	in, err := cmd.StdinPipe()
	w.must(err)
	w.must(cmd.Start())
	feed := len(data)
	if rng.IntN(2) == 0 {
		feed = rng.IntN(len(data))
	}
	_, err = io.Copy(in, bytes.NewReader(data[:feed]))
	w.must(err)
	if feed == len(data) {
		w.must(in.Close())
		// Some way into what follows the end of the input: as far as it gets while
		// we look at the repository a random number of times.
		for range rng.IntN(2000) {
			_, _ = os.Stat(w.repository)
		}
	}
	w.must(cmd.Process.Kill())
	err = cmd.Wait()
	_ = in.Close()
	if feed < len(data) {
		w.visibleIsRight(path, data) // the stream was cut off: it must not be there
	}
	return err != nil
}

// visibleIsRight checks that nothing visible under path is anything but data.
func (w *world) visibleIsRight(path string, data []byte) {
	w.t.Helper()
	r := finish(w.t, w.command("restore_data", w.config, path), nil)
	if r.code == 0 || r.stdout != "" {
		w.t.Errorf("%s: a stream that was cut off is there: %d, %d bytes of %d", path, r.code, len(r.stdout), len(data))
	}
}

// mustBeWhole reads every byte of the repository.
func (w *world) mustBeWhole() {
	w.t.Helper()
	st, err := target.Open(w.repository)
	w.must(err)
	r, err := repo.Open(context.Background(), st, "read", repo.Options{Secret: repo.Secret{KeyFile: w.key}})
	w.must(err)
	defer func() { w.must(errors.Join(r.Close())) }()
	report, err := r.Check(context.Background(), repo.CheckOptions{Level: repo.CheckData})
	w.must(err)
	for _, d := range report.Damage {
		w.t.Errorf("damage: %+v", d)
	}
}
