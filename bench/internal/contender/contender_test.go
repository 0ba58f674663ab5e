//go:build linux

package contender

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gpdedup/gpdedup/bench/internal/process"
)

func TestMain(m *testing.M) {
	process.Main(nil)
	built, err := filepath.Abs("../../../build/bin") // kopia, if make built it
	if err == nil {
		err = os.Setenv("PATH", os.Getenv("PATH")+":"+built)
	}
	if err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestStores has every program that is installed keep two versions, give both back, forget one and still have the other.
func TestStores(t *testing.T) {
	exe := os.Getenv("GPDEDUP_BINARY")
	if exe == "" {
		exe = filepath.Join(t.TempDir(), "gpdedup")
		if out, err := exec.Command("go", "build", "-o", exe, "../../../cmd/gpdedup").CombinedOutput(); err != nil {
			t.Fatalf("build: %v: %s", err, out)
		}
	}
	programs, missing, err := Find(exe, Names())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(missing)
	versions := map[string][]byte{}
	for i, tag := range []string{"one", "two"} {
		text := make([]byte, 300_000)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(text) // never fails
		versions[tag] = text
	}
	for _, p := range programs {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			place, err := process.NewPlace(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := place.Close(); err != nil {
					t.Error(err)
				}
			}()
			ctx := context.Background()
			s, err := p.Open(ctx, place)
			if err != nil {
				t.Fatal(err)
			}
			for _, tag := range []string{"one", "two"} {
				if _, err := s.Put(ctx, tag, Input{From: bytes.NewReader(versions[tag])}); err != nil {
					t.Fatal(err)
				}
			}
			before, err := s.Size()
			if err != nil || before < 600_000 {
				t.Errorf("it takes %d bytes, %v", before, err)
			}
			if _, err := s.Forget(ctx, "two"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Prune(ctx); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := s.Get(ctx, "one", &out); err != nil || !bytes.Equal(out.Bytes(), versions["one"]) {
				t.Errorf("got %d bytes, %v", out.Len(), err)
			}
			if _, err := s.Check(ctx, true); err != nil {
				t.Error(err)
			}
			// What kopia finds too young stays, whatever it is asked for.
			if after, err := s.Size(); err != nil || after > before-200_000 && p.Name != "kopia" {
				t.Errorf("it takes %d bytes after one of two streams was pruned, %d before, %v", after, before, err)
			}
		})
	}
}
