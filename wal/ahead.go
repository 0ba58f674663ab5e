package wal

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A server asks for one file at a time, and what takes long is packing it on one core
// and waiting for the storage. So a call pushes, beside the file it was given, the
// ones that are marked as ready next, several at a time, and leaves a record of each.
const (
	aheadFiles  = 64
	aheadBytes  = 1 << 30
	aheadMemory = 256 << 20       // of files that are under way at once, in bytes
	aheadTime   = 5 * time.Second // after which none is begun: a server that stops waits for us
	aheadAtOnce = 8
)

// readyNames lists the files that the server wants archived, in the order in which it
// will ask for them: histories first, then by name.
func readyNames(walDir string) []Name {
	f, err := os.Open(filepath.Join(walDir, "archive_status"))
	if err != nil {
		return nil // a missing one is normal: somebody pushes files by hand
	}
	defer f.Close()
	entries, err := f.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var names []Name
	for _, e := range entries {
		file, ready := strings.CutSuffix(e, ".ready")
		if name, err := ParseName(file); ready && err == nil {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b Name) int {
		if (a.Kind == History) != (b.Kind == History) {
			if a.Kind == History {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.String(), b.String())
	})
	return names
}

// ahead pushes what the server will ask for next. It ends at the first failure: that
// is for the call to report that is made for the file, and files behind a hole are of
// no use before it is closed.
func (s *session) ahead(ctx context.Context, records *records) {
	ready := readyNames(records.wal)
	if len(ready) == 0 {
		return
	}
	records.tidy(ready)
	began := time.Now()
	own := filepath.Base(s.path)
	g, ctx := errgroup.WithContext(ctx)
	atOnce := aheadAtOnce
	var files int
	var bytes int64
	for _, name := range ready {
		if name.String() == own || records.known(name) {
			continue
		}
		path := filepath.Join(records.wal, name.String())
		info, err := os.Stat(path)
		if err != nil {
			break
		}
		if files == 0 {
			atOnce = max(1, min(atOnce, int(aheadMemory/max(info.Size(), 1))))
			g.SetLimit(atOnce)
		}
		files++
		bytes += info.Size()
		if files > aheadFiles || bytes > aheadBytes || time.Since(began) > aheadTime || ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			what, err := s.push(ctx, path, name)
			if err == nil {
				records.note(name, what)
			}
			return err
		})
	}
	_ = g.Wait() // the call for the file will say
}
