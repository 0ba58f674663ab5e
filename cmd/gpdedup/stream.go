package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/wrap"
)

// StreamCmd is the group gpdedup stream.
type StreamCmd struct {
	Put      StreamPutCmd      `cmd:"" help:"Store standard input as the newest version of a stream."`
	Get      StreamGetCmd      `cmd:"" help:"Write a version of a stream to standard output."`
	List     StreamListCmd     `cmd:"" help:"List streams and their versions."`
	Delete   StreamDeleteCmd   `cmd:"" help:"Delete a version of a stream, or all of them."`
	Undelete StreamUndeleteCmd `cmd:"" help:"Bring deleted versions back, while they can be."`
	Forget   StreamForgetCmd   `cmd:"" help:"Delete old versions by rules such as --keep-daily 7."`
}

// splitVersion splits NAME[@VERSION].
func splitVersion(arg string) (name, version string, err error) {
	name, version, given := strings.Cut(arg, "@")
	if name == "" || given && version == "" || strings.Contains(version, "@") {
		return "", "", usageError(fmt.Sprintf("stream %q is not of the form NAME or NAME@VERSION", arg), "gpdedup stream list")
	}
	return name, version, nil
}

// streamVersions returns the versions of a stream that were stored to their end,
// the newest first, deleted ones included.
func streamVersions(ctx context.Context, r *repo.Repo, namespace, name string) ([]repo.Item, error) {
	items, err := r.Items(ctx, repo.Named, namespace, name)
	if err != nil {
		return nil, err
	}
	items = slices.DeleteFunc(items, func(i repo.Item) bool { return !i.Complete() })
	slices.SortFunc(items, func(a, b repo.Item) int { return strings.Compare(b.Name.Item, a.Name.Item) })
	return items, nil
}

// newestVersions returns at most n versions of a stream that are not deleted, the
// newest first, and whether there are any at all.
func newestVersions(ctx context.Context, r *repo.Repo, namespace, name string, n int) (names []repo.Name, some bool, err error) {
	items, err := streamVersions(ctx, r, namespace, name)
	if err != nil {
		return nil, false, err
	}
	for _, item := range items {
		deleted, err := r.Deleted(ctx, item.Name)
		if err != nil {
			return nil, false, err
		}
		if !deleted {
			names = append(names, item.Name)
		}
		if len(names) == n {
			break
		}
	}
	return names, len(items) > 0, nil
}

// StreamPutCmd is gpdedup stream put.
type StreamPutCmd struct {
	Name        string `arg:"" help:"The stream's name."`
	Compression string `placeholder:"LEVEL" complete:"off,fastest,default,better,best" help:"off, fastest, default, better or best; fastest if nothing is said."`
	Delta       string `placeholder:"MODE" complete:"auto,on,off" help:"Store what distinguishes a chunk from a similar one: auto (where it pays; the default), on or off."`
	Transcode   string `placeholder:"on|off" complete:"on,off" help:"Take gzip off a stream named .gz and zstd off one named .zst, and put it on again on the way out; on if nothing is said."`
}

// Help shows examples.
func (StreamPutCmd) Help() string {
	return `What comes in is stored as a new version when standard input ends. Versions are named
by the time, so they sort by age. The end of the input counts as success: where the
program that writes it can fail, look at its exit code and delete the version.

A stream named .gz or .zst is stored without its compression, so that it deduplicates,
and must be whole. What comes back has the same content, but not the same bytes: where
these matter, as with checksums of the file itself, give --transcode off.

Examples:

	pg_dump sales | gpdedup stream put sales
	tar -C /etc -c . | gpdedup --namespace web1 stream put etc
	gpdedup stream put sales.gz <sales.gz
	gpdedup stream put installer.tar.gz --transcode off <installer.tar.gz
`
}

type putReport struct {
	Namespace    string `json:"namespace"`
	Name         string `json:"name"`
	Version      string `json:"version"`
	Bytes        uint64 `json:"bytes"`
	NewBytes     uint64 `json:"new_bytes"`
	StoredBytes  uint64 `json:"stored_bytes"`
	Chunks       uint64 `json:"chunks"`
	NewChunks    uint64 `json:"new_chunks"`
	DeltaChunks  uint64 `json:"delta_chunks"`
	BaseBytes    uint64 `json:"base_bytes_read"`
	Milliseconds int64  `json:"milliseconds"`
}

// Run stores standard input.
func (c *StreamPutCmd) Run(g *Globals) error {
	if c.Name == "" {
		return usageError("store stream: the name is empty", "is a variable of the script not set?")
	}
	if strings.Contains(c.Name, "@") {
		return usageError(fmt.Sprintf("store stream: %q: a name cannot contain @", c.Name), "versions are given by the program; use another character")
	}
	now := time.Now().UTC()
	name := repo.Name{Class: repo.Named, Namespace: g.Namespace, Group: c.Name, Item: newVersion(now)}
	if err := name.Validate(); err != nil {
		return fmt.Errorf("store stream: %w", err)
	}
	level := g.compression
	if c.Compression != "" {
		var err error
		if level, err = compress.ParseLevel(c.Compression); err != nil {
			return usageError("store stream: --compression: "+err.Error(), "")
		}
	}
	delta := g.delta
	if c.Delta != "" {
		var err error
		if delta, err = repo.ParseDeltaMode(c.Delta); err != nil {
			return usageError("store stream: --delta: "+err.Error(), "")
		}
	}
	transcode, err := c.transcode(g)
	if err != nil {
		return err
	}
	in, err := plugin.NewInput(g.Context(), plugin.Stdin)
	if err != nil {
		return fmt.Errorf("store stream: %w", err)
	}
	defer in.Close()
	r, err := g.openWith("write", level, delta)
	if err != nil {
		return err
	}
	defer r.Close()
	ctx := g.Context()
	previous, _, err := newestVersions(ctx, r, g.Namespace, c.Name, 3)
	if err != nil {
		return fmt.Errorf("store stream: %w", err)
	}
	host, _ := os.Hostname() // only for people to read
	total := inputSize(os.Stdin)
	var src wrapped = wrap.NewChecker(c.Name, in)
	if transcode {
		if wrap.Named(c.Name) {
			total = 0 // progress counts what is inside, and nobody knows how much that is
		}
		src = wrap.NewReader(c.Name, in)
	}
	defer src.Close()
	update, done := g.Progress("storing "+c.Name, total)
	w, err := r.Write(ctx, name, src, repo.WriteOptions{
		Origin:        manifest.Origin{Host: host, Command: "stream put", Version: version, Time: now},
		Previous:      previous,
		Wrapping:      src.Wrapping,
		BeforePublish: func() error { return settled(ctx) },
		Progress:      update,
	})
	done()
	if err != nil {
		return withWrapHint(err)
	}
	g.countStored(&w)
	report := putReport{
		Namespace: g.Namespace, Name: c.Name, Version: name.Item, Bytes: w.Length,
		NewBytes: w.Stats.NewRaw, StoredBytes: w.Stats.NewStored + uint64(w.ManifestBytes),
		Chunks: w.Stats.Chunks, NewChunks: w.Stats.NewChunks,
		DeltaChunks: w.Stats.DeltaChunks, BaseBytes: w.Stats.BaseRead, Milliseconds: w.Stats.Milliseconds,
	}
	return g.Print(report, func(out io.Writer) {
		say(out, "stored %s: %s, %s new, %s stored", name,
			formatBytes(report.Bytes), formatBytes(report.NewBytes), formatBytes(report.StoredBytes))
	})
}

// transcode says whether compression is taken off: by the flag, else by --config.
func (c *StreamPutCmd) transcode(g *Globals) (bool, error) {
	switch c.Transcode {
	case "":
		return !g.keepWrapping, nil
	case "on", "off":
		return c.Transcode == "on", nil
	}
	return false, usageError(fmt.Sprintf("store stream: --transcode: %q is not on or off", c.Transcode), "")
}

// wrapped is a stream that may be inside of a container. It ends with an error if the
// container is not whole.
type wrapped interface {
	io.ReadCloser
	// Wrapping says, at the end, what was taken off.
	Wrapping() (as manifest.Wrapping, tail uint64)
}

// withWrapHint says what to do about a container that cannot be taken off.
func withWrapHint(err error) error {
	var broken *wrap.BrokenError
	switch {
	case errors.Is(err, wrap.ErrBeyond):
		return repo.WithHint(err, "--transcode off has compressed streams stored as they come")
	case errors.As(err, &broken):
		return repo.WithHint(err, "see what ended the program that made it; a stream that is not compressed must not be named .gz or .zst")
	}
	return err
}

// settled returns an error if the process was asked to end. A signal to a whole
// pipeline ends the program that writes our input too, which we then see as the
// end of the input, perhaps before the signal came round to this process.
func settled(ctx context.Context) error {
	plugin.AwaitSignals()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// newVersion names a version so that names sort by age; the tail keeps two hosts
// apart that store at the same moment.
func newVersion(now time.Time) string {
	var tail [2]byte
	_, _ = rand.Read(tail[:]) // crypto/rand.Read never returns an error
	return now.Format("20060102T150405.000000Z") + "-" + hex.EncodeToString(tail[:])
}

// inputSize returns how much there is to read, or 0 if that is unknown.
func inputSize(f *os.File) int64 {
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}
