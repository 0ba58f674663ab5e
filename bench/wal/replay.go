package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/results"
)

// delay is what the slow program's storage adds to each request.
const delay = "100 * time.Millisecond"

// measureReplay measures how long a server takes to recover, by its own account.
func measureReplay(w *world) (string, error) {
	repository, err := w.repository()
	if err != nil {
		return "", err
	}
	slow, err := w.slowProgram()
	if err != nil {
		return "", err
	}
	rest, err := w.restFetch()
	if err != nil {
		return "", err
	}
	archives := append([]archive{
		w.cp(), w.ours("gpdedup, encrypted", w.exe, repository), w.ours("gpdedup, encrypted, `--prefetch 0`", w.exe, repository, "--prefetch", "0"),
		w.ours("gpdedup, encrypted, each request to the storage 100 ms longer", slow, repository),
	}, rest...)
	for range w.rounds {
		for _, a := range archives {
			took, err := w.replay(&a)
			if err != nil {
				return "", err
			}
			w.Logf("replay with %s: %.1f s", a.name, took)
			w.note(a.name, replayed, len(w.files), time.Duration(took*float64(time.Second)))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| `restore_command` | replay, s | to cp of the same round |\n|---|---:|---:|\n")
	cp := results.Wall(w.found.Find(archives[0].name, replayed))
	for _, a := range archives {
		took := results.Wall(w.found.Find(a.name, replayed))
		fmt.Fprintf(&b, "| %s | %s | %.2f |\n", a.name, took.Format("%.1f"), took.Over(cp).Median())
	}
	return b.String(), nil
}

var redoDone = regexp.MustCompile(`redo done at .* elapsed: ([0-9.]+) s`)

// replay recovers a copy of the base backup to the end of the archive and returns the
// seconds between the first record and the last.
func (w *world) replay(a *archive) (float64, error) {
	if err := a.clear(); err != nil {
		return 0, err
	}
	c := w.backup.Copy(w)
	defer func() { c.Stop(w, "immediate"); _ = os.RemoveAll(c.Data) }()
	c.Configure(w, "archive_mode = off", "fsync = on", "hot_standby = off", "restore_command = '"+a.of(c.Data)+"'")
	c.Touch(w, "recovery.signal")
	c.Start(w)
	c.AwaitPromoted(w)
	m := redoDone.FindStringSubmatch(c.Log())
	if m == nil {
		return 0, fmt.Errorf("%s: no end of the replay in the log:\n%s", a.name, c.Log())
	}
	if n := strings.Count(c.Log(), "restored log file"); n < len(w.files)-1 {
		return 0, fmt.Errorf("%s: only %d files were restored", a.name, n)
	}
	return strconv.ParseFloat(m[1], 64)
}

// slowProgram builds gpdedup with a storage that takes longer. The product has no such
// thing: a copy of one of its files is compiled instead of it.
func (w *world) slowProgram() (string, error) {
	if w.slow != "" {
		return w.slow, nil
	}
	const file, call = "cmd/gpdedup/wal.go", "wal.Timed(st, wal.RequestLimit)"
	source, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("run this in the root of the source tree: %w", err)
	}
	changed := strings.Replace(string(source), call, "wal.Timed(&late{st}, wal.RequestLimit)", 1)
	if changed == string(source) {
		return "", fmt.Errorf("%s does not open the storage as it did: %s", file, call)
	}
	dir, err := os.MkdirTemp("", "gpdedup-slow-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	root, err := filepath.Abs(".")
	if err != nil {
		return "", err
	}
	overlay := fmt.Sprintf(`{"Replace": {%q: %q, %q: %q}}`,
		filepath.Join(root, file), filepath.Join(dir, "wal.go"), filepath.Join(root, "cmd/gpdedup/late.go"), filepath.Join(dir, "late.go"))
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "wal.go"), []byte(changed), 0o600),
		os.WriteFile(filepath.Join(dir, "late.go"), []byte(strings.ReplaceAll(lateSource, "DELAY", delay)), 0o600),
		os.WriteFile(filepath.Join(dir, "overlay"), []byte(overlay), 0o600),
	)
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay"), "-ldflags", "-s -w", "-o", filepath.Join(dir, "gpdedup-slow"), "./cmd/gpdedup")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the slow program: %w\n%s", err, out)
	}
	w.slow, err = w.Install(filepath.Join(dir, "gpdedup-slow"))
	return w.slow, err
}

const lateSource = `package main

import (
	"context"
	"time"

	"github.com/gpdedup/gpdedup/storage"
)

type late struct{ storage.Storage }

func (l *late) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	time.Sleep(DELAY)
	return l.Storage.Read(ctx, key, offset, dst)
}

func (l *late) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	time.Sleep(DELAY)
	return l.Storage.Get(ctx, key, limit)
}

func (l *late) Stat(ctx context.Context, key string) (storage.Info, error) {
	time.Sleep(DELAY)
	return l.Storage.Stat(ctx, key)
}

func (l *late) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	time.Sleep(DELAY)
	return l.Storage.Children(ctx, prefix)
}
`
