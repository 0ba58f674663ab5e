//go:build soak

package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage/local"
)

const (
	manyChunks    = 10_000_000
	chunksOfPack  = 180
	rowsOfStream  = 1000
	pruneMemory   = 512 << 20
	pruneChildDir = "GPDEDUP_TEST_PRUNE"
)

// A collection of ten million chunks, nine of ten of them deltas, stays below 512 MiB.
func TestPruneMemoryOfTenMillionChunks(t *testing.T) {
	if dir := os.Getenv(pruneChildDir); dir != "" {
		pruneChild(t, dir)
		return
	}
	dir := t.TempDir()
	makeManyChunks(t, dir)
	for _, what := range []string{"first run", "second run"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPruneMemoryOfTenMillionChunks$", "-test.v")
		cmd.Env = append(os.Environ(), pruneChildDir+"="+dir, "GOGC=20")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		started := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, out.Bytes())
		}
		peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
		t.Logf("%s: %s, peak memory %d MiB; %s", what, time.Since(started).Round(time.Second), peak>>20, strings.TrimSpace(out.String()))
		if peak > pruneMemory {
			t.Errorf("%s: %d MiB of memory", what, peak>>20)
		}
	}
}

func pruneChild(t *testing.T, dir string) {
	st, err := local.Open(filepath.Join(dir, "repo"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(context.Background(), st, "gc", Options{CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Prune(context.Background(), PruneOptions{DryRun: true, MaxUnused: DefaultMaxUnused})
	if err != nil || report.Chunks < manyChunks*99/100 || report.CondemnedPacks == 0 {
		t.Fatalf("%v: %+v", err, report)
	}
	t.Logf("%d chunks, %d packs, %d manifests, %d to condemn", report.Chunks, report.Packs, report.Manifests, report.CondemnedPacks)
}

// makeManyChunks makes what a collection looks at: fragments, manifests, and the names of
// packs. Their contents are not looked at.
func makeManyChunks(t *testing.T, dir string) {
	ctx := t.Context()
	repoDir := filepath.Join(dir, "repo")
	if err := os.Mkdir(repoDir, 0o700); err != nil {
		t.Fatal(err)
	}
	st, err := local.Create(repoDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Init(ctx, st, InitOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := Open(ctx, st, "write", Options{})
	if err != nil {
		t.Fatal(err)
	}
	name := func(kind string, n int) digest.ID {
		return digest.Sum(binary.LittleEndian.AppendUint64([]byte(kind), uint64(n)))
	}
	const perFragment = 180
	var fragment []index.Pack
	for p := range manyChunks / chunksOfPack {
		pack := index.Pack{ID: name("pack", p), Size: 16 << 20}
		for i := range chunksOfPack {
			n := p*chunksOfPack + i
			e := index.Entry{ID: name("chunk", n), Stored: 90_000, Raw: 256 << 10, Encoding: index.Zstd}
			if n >= manyChunks/10 {
				base := n - manyChunks/10 // of the day before
				e.Encoding, e.Base, e.Depth = index.Delta, name("chunk", base), uint8(n/(manyChunks/10))
			}
			pack.Entries = append(pack.Entries, e)
		}
		writeDirectly(t, repoDir, packKey(pack.ID), nil)
		if fragment = append(fragment, pack); len(fragment) == perFragment {
			putDirectly(t, r, repoDir, fragment)
			fragment = nil
		}
	}
	putDirectly(t, r, repoDir, fragment)
	// One in ten of the chunks is rooted by nothing.
	for s := range manyChunks * 9 / 10 / rowsOfStream {
		m := &manifest.Manifest{Table: manifest.Table{Packs: []manifest.PackRef{{ID: name("pack", 0)}}}}
		identity := manifest.NewIdentity()
		for i := range rowsOfStream {
			c := manifest.Chunk{ID: name("chunk", s*rowsOfStream+i), Raw: 256 << 10, Stored: 90_000, Encoding: index.Zstd, Ordinal: uint32(i)}
			identity.Add(c.ID, c.Raw)
			m.Length += uint64(c.Raw)
			m.Table.Rows = append(m.Table.Rows, c)
		}
		m.Identity = identity.Sum()
		key := Name{Class: Backup, Namespace: "default", Group: "20260101000000", Item: fmt.Sprint("table", s)}.Key()
		object, err := r.sealManifest(key, m)
		if err != nil {
			t.Fatal(err)
		}
		writeDirectly(t, repoDir, key, object)
	}
}

// putDirectly writes a fragment without the syncs that a repository in use needs.
func putDirectly(t *testing.T, r *Repo, dir string, packs []index.Pack) {
	object, err := r.keys.SealDocument(seal.Fragment, "", index.AppendFragment(nil, packs), nil)
	if err != nil {
		t.Fatal(err)
	}
	writeDirectly(t, dir, fragmentKey(digest.Sum(object)), object)
}

func writeDirectly(t *testing.T, dir, key string, data []byte) {
	path := filepath.Join(dir, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
