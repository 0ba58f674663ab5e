package repo

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// predictions cuts data along a previous stream, while workers look up chunks that were
// not predicted when the cutter is so many chunks farther. It returns how many chunks were
// predicted, of how many, and how many predictions were wrong.
func predictions(t *testing.T, r *Repo, before Name, data []byte, lag int) (right, chunks, wrong int) {
	t.Helper()
	m, err := r.Stream(ctx, before)
	if err != nil {
		t.Fatal(err)
	}
	counted := &countedMisses{previous: r.newPrevious(ctx, m)}
	namer := r.keys.Namer()
	cutter := chunking.NewCutter(bytes.NewReader(data), r.cuts(), chunking.NewPool(ctx, 4, int(r.config.Chunks.Max)), counted, r.keys.Namer())
	defer cutter.Close()
	type found struct {
		id     digest.ID
		offset int64
	}
	var waiting []found
	var offset int64
	for {
		chunk, err := cutter.Next()
		if err == io.EOF { //nolint:errorlint // as Next promises
			return right, chunks, counted.wrong
		}
		if err != nil {
			t.Fatal(err)
		}
		chunks++
		if chunk.Named {
			right++
		}
		waiting = append(waiting, found{namer.Sum(chunk.Data), offset})
		if len(waiting) > lag {
			counted.find(waiting[0].id, waiting[0].offset)
			waiting = waiting[1:]
		}
		offset += int64(len(chunk.Data))
		chunk.Release()
	}
}

// predictedRepo cuts a stream at the same places in every run. Its leaf lists are longer
// than what comes and goes in these tests.
func predictedRepo(t *testing.T) *Repo {
	t.Helper()
	ring, err := seal.NewRing(&[32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	st := mem.New()
	if _, err := Init(ctx, st, InitOptions{ChunkSize: MinChunkSize, Now: time.Now(), ring: ring}); err != nil {
		t.Fatal(err)
	}
	limits := testLimits
	limits.LeafMean = 64
	r, err := Open(ctx, st, "write", Options{Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type countedMisses struct {
	*previous
	wrong int
}

func (c *countedMisses) Missed(offset int64) {
	c.wrong++
	c.previous.Missed(offset)
}

// TestPredictionsComeBack: right behind a change where as much or little more or less is
// there as before, and else as soon as a worker has found where the streams run together.
func TestPredictionsComeBack(t *testing.T) {
	const changes = 10
	base := randomText(3, 16<<20) // about a thousand chunks
	every := len(base) / (changes + 1)
	edit := func(change func(at int) (insert []byte, remove int)) []byte {
		var out []byte
		from := 0
		for i := 1; i <= changes; i++ {
			at := i * every
			insert, remove := change(at)
			out = append(append(out, base[from:at]...), insert...)
			from = at + remove
		}
		return append(out, base[from:]...)
	}
	r := predictedRepo(t)
	before := backupName("20261121000000", "t")
	put(t, r, before, base, WriteOptions{})
	for _, c := range []struct {
		what        string
		data        []byte
		lag         int
		most, wrong int // chunks that may be cut, predictions that may be wrong
	}{
		{"nothing", base, 32, 0, 0},
		{"bytes", edit(func(int) ([]byte, int) { return []byte("!"), 1 }), 1 << 20, 2 * changes, 2 * changes},
		{"rows inserted", edit(func(int) ([]byte, int) { return []byte("one row more\n"), 0 }), 1 << 20, 2 * changes, 2 * changes},
		{"rows deleted", edit(func(int) ([]byte, int) { return nil, 100 }), 1 << 20, 2 * changes, 2 * changes},
		{"much inserted", edit(func(int) ([]byte, int) { return randomText(77, 500_000), 0 }), 4, (500_000/16384 + 10) * changes, 4 * changes},
		{"much deleted", edit(func(int) ([]byte, int) { return nil, 300_000 }), 4, 10 * changes, 4 * changes},
		{"a start of its own", slices.Concat(randomText(78, 200_000), base), 32, 200_000/16384 + 40, 4},
		{"another stream", randomText(99, 16<<20), 4, 1 << 20, missesInARow},
		{"a long start of its own", slices.Concat(randomText(78, 4_000_000), base), 32, 4_000_000/16384 + 50, 4},
	} {
		right, chunks, wrong := predictions(t, r, before, c.data, c.lag)
		t.Logf("%s: %d of %d chunks were predicted, %d predictions were wrong", c.what, right, chunks, wrong)
		if chunks-right > c.most || wrong > c.wrong {
			t.Errorf("%s: %d of %d chunks were cut, want at most %d; %d predictions were wrong, want at most %d",
				c.what, chunks-right, chunks, c.most, wrong, c.wrong)
		}
	}
}

// TestPredictionsOfAnotherOrder: where content comes in another order every chunk is a
// hit, and what follows is not what followed; few predictions are wasted on that.
func TestPredictionsOfAnotherOrder(t *testing.T) {
	base := randomText(4, 16<<20)
	r := predictedRepo(t)
	before := backupName("20261121000000", "t")
	put(t, r, before, base, WriteOptions{})
	var pieces [][]byte
	for piece := range r.cuts().Split(base) {
		pieces = append(pieces, piece)
	}
	slices.Reverse(pieces)
	right, chunks, wrong := predictions(t, r, before, slices.Concat(pieces...), 4)
	t.Logf("%d of %d chunks were predicted, %d predictions were wrong", right, chunks, wrong)
	if wrong > chunks/8 {
		t.Errorf("%d predictions were wrong, of %d chunks", wrong, chunks)
	}
}
