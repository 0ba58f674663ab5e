//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/local"
)

// childArgument is what a process of this program is called with that does one thing with the index.
const childArgument = "--child"

// child performs: build CACHE CHUNKS, look CACHE REPO CHUNKS N, or merge CACHE CHUNKS BACKUPS.
func child(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return errors.New("a child without arguments")
	}
	cache, err := index.OpenCache(args[1], index.CacheOptions{FirstOffset: pack.FirstOffset})
	if err != nil {
		return err
	}
	var result any
	switch args[0] {
	case "build":
		result, err = build(ctx, cache, number(args[2]))
	case "look":
		result, err = look(ctx, cache, args[2], number(args[3]), number(args[4]))
	case "merge":
		result, err = mergeBackups(ctx, cache, number(args[2]), number(args[3]))
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func number(text string) int {
	n, _ := strconv.Atoi(text) // the parent wrote it
	return n
}

func build(ctx context.Context, cache *index.Cache, chunks int) (any, error) {
	w := newWorld(chunks)
	report, err := cache.Refresh(ctx, w.listed, w.load)
	if err == nil && (report.Entries != uint64(chunks) || report.LeftOut > 0) {
		err = fmt.Errorf("the index has %d chunks of %d", report.Entries, chunks)
	}
	return nil, err
}

// looked is what a look-up says of its process.
type looked struct {
	Anon int64 `json:"anon"` // RssAnon, in bytes
}

// look does what a fresh process does until it knows of three chunks what the index says: it lists index/, opens the cache,
// finds a chunk, misses one, and finds a similar one.
func look(ctx context.Context, cache *index.Cache, dir string, chunks, n int) (any, error) {
	st, err := local.Open(dir)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	var listed []index.FragmentInfo
	err = st.List(ctx, "index/", func(info storage.Info) error {
		id, err := digest.Parse(strings.TrimPrefix(info.Key, "index/"))
		listed = append(listed, index.FragmentInfo{ID: id, Size: info.Size, ModTime: info.ModTime})
		return err
	})
	if err != nil {
		return nil, err
	}
	view, err := cache.View(ctx, listed, func(context.Context, digest.ID) ([]index.Pack, error) {
		return nil, errors.New("a fragment was read that the cache covers")
	})
	if err != nil {
		return nil, err
	}
	defer view.Close()
	fragments := (chunks + fragmentChunks - 1) / fragmentChunks
	some := fragment(n%fragments, packChunks)[0].Entries[n%packChunks]
	if loc, ok := view.Find(some.ID, nil); !ok || loc.Raw != some.Raw {
		return nil, fmt.Errorf("chunk %s is not found; %v %v", some.ID.Short(), view.Damaged(), view.Skipped())
	}
	if _, ok := view.Find(fragmentID(n), nil); ok {
		return nil, errors.New("a chunk is found that was never stored")
	}
	// Of the newest fragment, because the cache keeps features of the newest chunks.
	newest := fragment(fragments-1, min(packChunks, chunks))[0].Entries[n%packChunks]
	sf := newest.Features
	sf[n%len(sf)]++
	if id, _, ok := view.Similar(sf, nil); !ok || id != newest.ID {
		return nil, errors.New("a similar chunk is not found")
	}
	status, err := os.ReadFile("/proc/self/status")
	return looked{process.StatusBytes(status, "RssAnon:")}, err
}

// merged is what backups after each other cost.
type merged struct {
	Written []int64 `json:"written"` // bytes, by backup
	Files   int     `json:"files"`   // generations merged, in all
}

// backupChunks is how many new chunks a small backup has: 100 MB.
const backupChunks = 400

// mergeBackups brings the cache up to date after each of so many backups.
func mergeBackups(ctx context.Context, cache *index.Cache, chunks, backups int) (any, error) {
	w := newWorld(chunks)
	var m merged
	for range backups {
		w.add(backupChunks)
		before, err := written()
		if err != nil {
			return nil, err
		}
		report, err := cache.Refresh(ctx, w.listed, w.load)
		if err != nil {
			return nil, err
		}
		after, err := written()
		if err != nil {
			return nil, err
		}
		if report.Loaded != 1 {
			return nil, fmt.Errorf("%d fragments were read for one backup", report.Loaded)
		}
		m.Written, m.Files = append(m.Written, after-before), m.Files+len(report.Merged)
	}
	return m, nil
}

// written is how many bytes this process has written so far.
func written() (n int64, err error) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "wchar:")
	_, err = fmt.Sscan(rest, &n)
	return n, err
}
