package repo

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// testLimits make small streams take the paths of large ones.
var testLimits = Limits{
	Inline: 1 << 10, SmallPack: 32 << 10, PackMin: 64 << 10, PackMax: 256 << 10,
	DirectRows: 16, LeafMean: 8, FragmentEntries: 32, ReadWindow: 1 << 20,
}

func newTestRepo(t testing.TB, st storage.Storage, secret Secret, o Options) *Repo {
	t.Helper()
	ctx := context.Background()
	if _, err := Init(ctx, st, InitOptions{Secret: secret, ChunkSize: MinChunkSize, Now: time.Unix(1700000000, 0)}); err != nil {
		t.Fatal(err)
	}
	o.Secret = secret
	r, err := Open(ctx, st, "write", o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func randomText(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, 0, n+16)
	for len(out) < n {
		out = append(out, "row "...)
		for range 6 {
			out = append(out, byte('a'+rng.IntN(26)))
		}
		out = append(out, ",42,2026-11-21\n"...)
	}
	return out[:n]
}

func restored(t testing.TB, r *Repo, name Name) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := r.Restore(context.Background(), name, &out, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRoundTripSizes(t *testing.T) {
	c, err := ChunksFor(MinChunkSize)
	if err != nil {
		t.Fatal(err)
	}
	lo, hi := int(c.Min), int(c.Max)
	for _, secret := range []Secret{{}, {Password: "secret"}} {
		r := newTestRepo(t, mem.New(), secret, Options{Limits: testLimits})
		for i, n := range []int{0, 1, lo - 1, lo, lo + 1, hi - 1, hi, hi + 1, inlineTrial, inlineTrial + 1, 3 << 20} {
			data := randomText(uint64(i), n)
			name := Name{Backup, "default", "20261121000000", "f" + string(rune('a'+i))}
			rep, err := r.Write(context.Background(), name, bytes.NewReader(data), WriteOptions{})
			if err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			if rep.Length != uint64(n) {
				t.Errorf("%d bytes: report says %d", n, rep.Length)
			}
			if !bytes.Equal(restored(t, r, name), data) {
				t.Errorf("%d bytes: restored stream differs", n)
			}
			again := name
			again.Group = "20261122000000"
			rep, err = r.Write(context.Background(), again, bytes.NewReader(data), WriteOptions{Previous: []Name{name}})
			if err != nil {
				t.Fatal(err)
			}
			if n > inlineTrial && rep.Stats.NewChunks != 0 {
				t.Errorf("%d bytes: the same again stored %+v", n, rep.Stats)
			}
			if !bytes.Equal(restored(t, r, again), data) {
				t.Errorf("%d bytes: restored second stream differs", n)
			}
		}
	}
}
