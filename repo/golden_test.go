package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/local"
)

// A golden repository is one that an earlier version wrote, and that every later
// version must read. testdata/golden/v1 holds one for each kind of key slot; it is
// made once, by
//
//	go test ./repo -run TestGolden -golden.update
//
// if it is not there, and never again: what that writes afterwards only shows that today's version can
// read what it writes itself.
var updateGolden = flag.Bool("golden.update", false, "write the golden repositories that are missing")

const (
	goldenDir      = "testdata/golden/v1"
	goldenPassword = "correct horse battery staple"
)

var goldenVariants = []string{"plain", "keyfile", "password", "rotated", "columns"}

// goldenStream is what golden.json says about a stream: what must come back.
type goldenStream struct {
	Name       Name      `json:"name"`
	Deleted    bool      `json:"deleted,omitempty"`
	Checkpoint string    `json:"checkpoint,omitempty"` // key: only a checkpoint is there
	Length     uint64    `json:"length"`
	Sum        string    `json:"blake3"` // of the content, unkeyed
	Wrapping   string    `json:"wrapping,omitempty"`
	Tail       uint64    `json:"tail,omitempty"`
	Host       string    `json:"host"`
	Time       time.Time `json:"time"`
	Packs      int       `json:"packs"`
	Leaves     int       `json:"leaves"`
	Inline     bool      `json:"inline"`
}

// goldenGC is what golden.json says about gc/.
type goldenGC struct {
	Packs      []string `json:"condemned_packs"`
	Roots      []string `json:"condemned_roots"`
	Lost       []string `json:"lost_chunks"`
	Tombstones []string `json:"tombstones"`
}

type goldenFile struct {
	Streams []goldenStream `json:"streams"`
	GC      goldenGC       `json:"gc"`
}

func goldenSecret(t *testing.T, variant, dir string) Secret {
	t.Helper()
	switch variant {
	case "keyfile", "rotated", "columns":
		path := filepath.Join(dir, "key")
		if err := os.Chmod(path, 0o600); err != nil { // git does not keep modes
			t.Fatal(err)
		}
		return Secret{KeyFile: path}
	case "password":
		return Secret{Password: goldenPassword}
	}
	return Secret{}
}

func TestGolden(t *testing.T) {
	if *updateGolden {
		for _, variant := range goldenVariants {
			if _, err := os.Stat(filepath.Join(goldenDir, variant)); errors.Is(err, os.ErrNotExist) {
				writeGolden(t, variant)
			}
		}
	}
	for _, variant := range goldenVariants {
		t.Run(variant, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(goldenDir, variant))); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, "golden.json"))
			if err != nil {
				t.Fatal(err)
			}
			var want goldenFile
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			st, err := local.Open(filepath.Join(dir, "repo"))
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			secret := goldenSecret(t, variant, dir)
			r, err := Open(ctx, st, "read", Options{Secret: secret})
			if err != nil {
				t.Fatal(err)
			}
			if len(want.Streams) < 9 {
				t.Errorf("only %d streams", len(want.Streams))
			}
			for _, s := range want.Streams {
				checkGoldenStream(t, r, s)
			}
			checkGoldenGC(t, r, want.GC)
			report, err := r.Check(ctx, CheckOptions{Level: CheckData})
			if err != nil || len(report.Damage) != 0 || len(report.Warnings) != 0 {
				t.Errorf("check: %v, %+v", err, report)
			}
			checkGoldenKeys(t, st, variant)
			if variant == "rotated" {
				if _, err := Open(ctx, st, "write", Options{Secret: Secret{Password: goldenPassword}}); err != nil {
					t.Error(err)
				}
			}
			checkGoldenDedup(t, st, secret)
		})
	}
}

func checkGoldenStream(t *testing.T, r *Repo, want goldenStream) {
	t.Helper()
	key := want.Name.Key()
	if want.Checkpoint != "" {
		key = want.Checkpoint
		if name, checkpoint, err := parseKey(key); err != nil || !checkpoint || name != want.Name {
			t.Errorf("%s: parsed as %v, %v, %v", key, name, checkpoint, err)
		}
	}
	m, err := r.readManifest(ctx, key)
	if err != nil {
		t.Error(err)
		return
	}
	if got := describeGolden(t, r, m); got.Length != want.Length || got.Sum != want.Sum || got.Packs != want.Packs ||
		got.Leaves != want.Leaves || got.Inline != want.Inline || got.Host != want.Host || !got.Time.Equal(want.Time) ||
		got.Wrapping != want.Wrapping || got.Tail != want.Tail {
		t.Errorf("%s:\ngot  %+v\nwant %+v", key, got, want)
	}
	err = r.Restore(ctx, want.Name, io.Discard, RestoreOptions{})
	switch {
	case want.Deleted && !errors.Is(err, ErrDeleted):
		t.Errorf("%s is deleted: %v", key, err)
	case want.Checkpoint != "" && !errors.Is(err, ErrNoStream):
		t.Errorf("%s is only a checkpoint: %v", key, err)
	case !want.Deleted && want.Checkpoint == "" && err != nil:
		t.Error(err)
	}
}

// describeGolden restores a stream and says what its manifest looks like.
func describeGolden(t *testing.T, r *Repo, m *manifest.Manifest) goldenStream {
	t.Helper()
	var out bytes.Buffer
	if err := r.RestoreManifest(ctx, m, &out, RestoreOptions{Unwrapped: true}); err != nil {
		t.Fatal(err)
	}
	needed, err := r.packsOf(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	return goldenStream{
		Length: uint64(out.Len()), Sum: digest.Sum(out.Bytes()).String(),
		Wrapping: map[manifest.Wrapping]string{manifest.Gzip: "gzip", manifest.Zstd: "zstd"}[m.Wrapping],
		Tail:     m.Tail, Host: m.Origin.Host, Time: m.Origin.Time,
		Packs: len(needed), Leaves: len(m.Leaves), Inline: len(m.Inline) > 0,
	}
}

func checkGoldenGC(t *testing.T, r *Repo, want goldenGC) {
	t.Helper()
	gc, err := r.lookGC(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := describeGoldenGC(gc); !slices.Equal(got.Packs, want.Packs) || !slices.Equal(got.Roots, want.Roots) ||
		!slices.Equal(got.Lost, want.Lost) || !slices.Equal(got.Tombstones, want.Tombstones) {
		t.Errorf("gc/:\ngot  %+v\nwant %+v", got, want)
	}
}

func describeGoldenGC(gc *gcState) goldenGC {
	ids := func(m map[digest.ID]bool) (out []string) {
		for id := range m {
			out = append(out, id.String())
		}
		slices.Sort(out)
		return out
	}
	return goldenGC{
		Packs: ids(gc.packs), Lost: ids(gc.lost),
		Roots: slices.Sorted(maps.Keys(gc.roots)), Tombstones: slices.Sorted(maps.Keys(gc.tombstones)),
	}
}

// checkGoldenKeys: no other secret opens the repository.
func checkGoldenKeys(t *testing.T, st storage.Storage, variant string) {
	t.Helper()
	for _, secret := range []Secret{{}, {Password: "wrong"}, {KeyFile: testKeyFile(t)}} {
		if variant == "plain" && secret.IsZero() {
			continue
		}
		if _, err := Open(ctx, st, "read", Options{Secret: secret}); !errors.Is(err, ErrWrongKey) {
			t.Errorf("opened with %+v: %v", secret, err)
		}
	}
}

// checkGoldenDedup: cut points and chunk names are what they were, or what is
// stored already would be stored again.
func checkGoldenDedup(t *testing.T, st storage.Storage, secret Secret) {
	t.Helper()
	r, err := Open(ctx, st, "write", Options{Secret: secret, Limits: goldenLimits})
	if err != nil {
		t.Fatal(err)
	}
	name := backupName("20261121000000", "long")
	data := restored(t, r, name)
	if len(data) < 256<<10 {
		t.Fatalf("the long stream has %d bytes", len(data))
	}
	for _, previous := range [][]Name{nil, {name}} {
		again := backupName("20261201000000", "long")
		if previous != nil {
			again.Group = "20261202000000"
		}
		if rep := put(t, r, again, data, WriteOptions{Previous: previous}); rep.Stats.NewChunks != 0 {
			t.Errorf("previous %v: %d of %d chunks were stored again", previous, rep.Stats.NewChunks, rep.Stats.Chunks)
		}
	}
}
