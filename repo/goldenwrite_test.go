package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// goldenLimits make streams of some hundred kilobytes take all paths.
var goldenLimits = Limits{
	Inline: 1 << 10, SmallPack: 16 << 10, PackMin: 8 << 10, PackMax: 16 << 10,
	DirectRows: 8, LeafMean: 4, FragmentEntries: 16,
}

// goldenText is text that compresses well, so that golden repositories stay small.
func goldenText(seed uint64, n int) []byte {
	random := randomText(seed, n/8)
	var out []byte
	for i := 0; len(out) < n; i = (i + 8) % (len(random) - 8) {
		out = append(out, "1;2026-11-21 00:00:00+00;an order that was placed;"...)
		out = append(out, random[i:i+8]...)
		out = append(out, '\n')
	}
	return out[:n]
}

// tableText is the beginning of a table's text.
func tableText(t testing.TB, n int) []byte {
	t.Helper()
	var text bytes.Buffer
	if _, err := tablegen.New(tablegen.Heap, 1, n/100).WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()[:n]
}

// goldenTable is a table with columns of all kinds, some fields of which are of another.
func goldenTable(n int) []byte {
	var out bytes.Buffer
	days := time.Date(1999, 12, 25, 0, 0, 0, 0, time.UTC)
	at := days
	random := rand.New(rand.NewPCG(7, 7))
	for i := 0; out.Len() < n; i++ {
		at = at.Add(time.Duration(random.IntN(90_000_000)) * time.Microsecond)
		amount := fmt.Sprintf("%.3f", float64(random.IntN(2_000_000)-1_000_000)/1000)
		due := at.Add(time.Duration(random.IntN(500)) * time.Hour).Format("2006-01-02 15:04:05-03:30")
		hash := fmt.Sprintf("%08x-%04x", random.Uint32(), random.IntN(1<<16))
		if i%3 == 1 {
			due = strings.TrimSuffix(due, "-03:30") + "-02:30"
		}
		if i%9 == 0 {
			amount, due, hash = "", "\\N", "\\N"
		}
		team := random.IntN(20)
		fmt.Fprintf(&out, "%d\t%s\t%s\t%s\t%s\t%s\tteam %d\t%d\t%d\t%s\t%c%c%c\n", 1<<40+7*i, days.AddDate(0, 0, i*i%30_000).Format(time.DateOnly),
			strings.TrimRight(at.Format("2006-01-02 15:04:05.000000"), "0")+"+00", at.Format("2006-01-02 15:04:05.000"), due, amount, team, team, random.IntN(1<<20), hash,
			'A'+random.IntN(26), 'A'+random.IntN(26), 'A'+random.IntN(26))
	}
	return out.Bytes()
}

// rotateGolden leaves a key that opens both epochs, a password that does, and a key
// that opens the first only.
func rotateGolden(t *testing.T, r *Repo) {
	t.Helper()
	now := time.Unix(1795000000, 0)
	password := Secret{Password: goldenPassword}
	for _, s := range []Secret{password, {KeyFile: testKeyFile(t)}} {
		if _, _, err := r.AddKey(ctx, s, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.RotateKeys(ctx, RotateOptions{Also: []Secret{password}, Others: KeepOthers, Now: now}); err != nil {
		t.Fatal(err)
	}
}

func writeGolden(t *testing.T, variant string) {
	t.Helper()
	dir := filepath.Join(goldenDir, variant)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if variant == "keyfile" || variant == "rotated" || variant == "columns" {
		if err := CreateKeyFile(filepath.Join(dir, "key")); err != nil {
			t.Fatal(err)
		}
	}
	st := mem.New()
	r := newTestRepo(t, st, goldenSecret(t, variant, dir), Options{Limits: goldenLimits, Version: "golden", Delta: DeltaOff})
	origin := manifest.Origin{Host: "seg1.example", Path: "/data/primary/gpseg0/backups", Time: time.Unix(1795000000, 0).UTC()}
	long := goldenText(3, 300<<10)
	if variant == "columns" { // which take less room
		long = append(tableText(t, 250<<10), goldenTable(250<<10)...)
	}
	small := randomText(4, 8<<10)
	var file goldenFile
	for i, s := range []struct {
		name     Name
		data     []byte
		wrapping manifest.Wrapping
		tail     uint64
	}{
		{backupName("20261121000000", "empty"), nil, manifest.Plain, 0},
		{backupName("20261121000000", "inline"), goldenText(1, 700), manifest.Plain, 0},
		{backupName("20261121000000", "small"), small, manifest.Zstd, 0},
		{backupName("20261121000000", "long"), long, manifest.Plain, 0},
		{backupName("20261121000000", "50% é.part-0123456789abcdef-0"), goldenText(2, 300), manifest.Gzip, 17},
		{backupName("20261120000000", "deleted"), goldenText(5, 500), manifest.Plain, 0},
		{Name{Named, "default", "notes/today", "1"}, goldenText(6, 40<<10), manifest.Plain, 0},
		{Name{Base, "default", "-1", "20261121T000000Z"}, goldenText(7, 900), manifest.Plain, 0},
	} {
		if variant == "rotated" && i == 3 {
			rotateGolden(t, r)
		}
		put(t, r, s.name, s.data, WriteOptions{
			Origin: origin, Wrapping: func() (manifest.Wrapping, uint64) { return s.wrapping, s.tail },
		})
		file.Streams = append(file.Streams, goldenStream{Name: s.name})
	}
	broken := backupName("20261122000000", "long")
	breakOff(t, st, r, broken, bytes.Repeat(long, 5), WriteOptions{Origin: origin})
	for _, key := range st.Keys() {
		if _, checkpoint, err := parseKey(key); err == nil && checkpoint {
			file.Streams = append(file.Streams, goldenStream{Name: broken, Checkpoint: key})
		}
	}
	writeGoldenGC(t, r)
	for i := range file.Streams {
		s := &file.Streams[i]
		key := s.Name.Key()
		if s.Checkpoint != "" {
			key = s.Checkpoint
		}
		m, err := r.readManifest(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		d := describeGolden(t, r, m)
		d.Name, d.Checkpoint, d.Deleted = s.Name, s.Checkpoint, s.Name.Item == "deleted"
		*s = d
		if s.Name.Item == "long" && s.Checkpoint == "" && (s.Packs < 3 || s.Leaves < 2) {
			t.Fatalf("the long stream is too simple; try again: %+v", d)
		}
	}
	gc, err := r.lookGC(ctx)
	if err != nil {
		t.Fatal(err)
	}
	file.GC = describeGoldenGC(gc)
	writeGoldenFiles(t, dir, st, file)
}

// writeGoldenFiles writes a repository, and what golden.json says about it, to dir.
func writeGoldenFiles(t *testing.T, dir string, st *mem.Store, about any) {
	t.Helper()
	text, err := json.MarshalIndent(about, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"golden.json": append(text, '\n')}
	for _, key := range st.Keys() {
		if files["repo/"+key], err = st.Get(ctx, key, -1); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// breakOff stores a stream that breaks off after its first checkpoint.
func breakOff(t *testing.T, st *mem.Store, r *Repo, name Name, data []byte, o WriteOptions) {
	t.Helper()
	limits := r.opts.Limits
	r.opts.Limits.CheckpointBytes = 600 << 10
	published := make(chan struct{})
	var once sync.Once
	var put atomic.Bool
	st.SetHook(func(op, key string) mem.Fault {
		switch {
		case op == "put" && checkpointSuffix(key) >= 0:
			put.Store(true)
		case op == "list" && put.Load(): // the look that follows
			once.Do(func() { close(published) })
		}
		return mem.Fault{}
	})
	defer func() {
		r.opts.Limits = limits
		st.SetHook(nil)
	}()
	src := io.MultiReader(bytes.NewReader(data), waitReader{published}, errorReader{errors.New("cut off")})
	if _, err := r.Write(ctx, name, src, o); err == nil {
		t.Fatal("a broken stream was stored")
	}
}

// waitReader is empty, and says so when the channel is closed.
type waitReader struct{ until chan struct{} }

func (w waitReader) Read([]byte) (int, error) {
	<-w.until
	return 0, io.EOF
}

// writeGoldenGC puts what a collector and delete_backup leave under gc/.
func writeGoldenGC(t *testing.T, r *Repo) {
	t.Helper()
	m, err := r.Stream(ctx, backupName("20261121000000", "small"))
	if err != nil {
		t.Fatal(err)
	}
	small, err := r.packsOf(ctx, m)
	if err != nil || len(small) != 1 {
		t.Fatal("the small stream is not one pack:", small, err)
	}
	condemned := gcList{
		ids:   []digest.ID{small[0], digest.Sum([]byte("a pack that is gone"))},
		roots: []string{"gp/default/20261119000000"},
	}
	lost := gcList{ids: []digest.ID{digest.Sum([]byte("a chunk that is lost"))}}
	body, err := json.Marshal(tombstone{Time: time.Unix(1795000000, 0).UTC(), Host: "cdw.example"})
	if err != nil {
		t.Fatal(err)
	}
	for key, x := range map[string]struct {
		kind    seal.Kind
		payload []byte
	}{
		condemnedPrefix + "00112233445566778899aabbccddeeff":   {seal.Condemned, condemned.marshal()},
		lostPrefix + "ffeeddccbbaa99887766554433221100":        {seal.Lost, lost.marshal()},
		backupName("20261120000000", "deleted").tombstoneKey(): {seal.Tombstone, body},
	} {
		object, err := r.keys.SealDocument(x.kind, key, x.payload, r.enc)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.st.Put(ctx, key, object); err != nil {
			t.Fatal(err)
		}
	}
}
