package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/term"

	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
)

// StreamGetCmd is gpdedup stream get.
type StreamGetCmd struct {
	Stream string `arg:"" name:"name[@version]" help:"The stream; its newest version that is not deleted if none is given."`
	Output string `short:"o" placeholder:"FILE" help:"Write to this file instead, which appears, or is replaced, only when all is written."`
	Force  bool   `help:"Write to standard output even if it is a terminal."`
}

// Help shows examples.
func (StreamGetCmd) Help() string {
	return `Every byte is verified before it goes out. When something is damaged, what comes out
ends before the damage, and the exit code is 4. What had its compression taken off when
it was stored is compressed again: the same content, not the same bytes.

Examples:

	gpdedup stream get sales | psql sales
	gpdedup stream get sales.gz | gzip -d | psql sales
	gpdedup stream get sales@20261121T213355.123456Z-9f3a --output sales.sql
`
}

type getReport struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	Bytes     uint64 `json:"bytes"`
	Output    string `json:"output"`
}

// Run writes the stream out.
func (c *StreamGetCmd) Run(g *Globals) error {
	if c.Output != "" {
		return c.toFile(g)
	}
	if err := c.toStdout(g); err != nil {
		// Whoever reads our output should see its end before our complaint.
		if out, ok := g.Stdout().(io.Closer); ok {
			_ = out.Close() // it has failed already
		}
		return err
	}
	return nil
}

func (c *StreamGetCmd) toStdout(g *Globals) error {
	if err := checkStdout(g, c.Force); err != nil {
		return err
	}
	_, err := c.write(g, g.Stdout())
	return err
}

// checkStdout refuses to write a stream to where it is not wanted, or is lost.
func checkStdout(g *Globals, force bool) error {
	if g.JSON() {
		return usageError("get stream: --json is given, but standard output is for the data", "give --output FILE")
	}
	if !force && term.IsTerminal(plugin.Stdout) {
		return usageError("get stream: standard output is a terminal", "redirect it, or give --output FILE or --force")
	}
	if err := plugin.CheckOpen(plugin.Stdout); err != nil {
		return fmt.Errorf("get stream: %w", err)
	}
	return nil
}

// write writes the stream to out.
func (c *StreamGetCmd) write(g *Globals, out io.Writer) (repo.Name, error) {
	name, version, err := splitVersion(c.Stream)
	if err != nil {
		return repo.Name{}, err
	}
	r, err := g.Open("read")
	if err != nil {
		return repo.Name{}, err
	}
	defer r.Close()
	ctx := g.Context()
	n := repo.Name{Class: repo.Named, Namespace: g.Namespace, Group: name, Item: version}
	if version == "" {
		if n, err = newestVersion(ctx, r, g.Namespace, name); err != nil {
			return n, fmt.Errorf("get stream: %w", err)
		}
	}
	m, err := r.Stream(ctx, n)
	if err != nil {
		switch {
		case errors.Is(err, repo.ErrNoStream):
			err = repo.WithHint(err, "gpdedup stream list")
		case errors.Is(err, repo.ErrDeleted):
			err = repo.WithHint(err, fmt.Sprintf("gpdedup stream undelete %s@%s brings it back, while it can be", n.Group, n.Item))
		}
		return n, fmt.Errorf("get stream: %w", err)
	}
	update, done := g.Progress("reading "+name, int64(m.Length))
	err = r.RestoreManifest(ctx, m, out, repo.RestoreOptions{Compress: true, Progress: update})
	done()
	if err != nil {
		return n, fmt.Errorf("get stream: %s: %w", n, err)
	}
	g.metrics.Restored(1, m.Length)
	return n, nil
}

func newestVersion(ctx context.Context, r *repo.Repo, namespace, name string) (repo.Name, error) {
	newest, some, err := newestVersions(ctx, r, namespace, name, 1)
	switch {
	case err != nil:
		return repo.Name{}, err
	case len(newest) > 0:
		return newest[0], nil
	case some:
		return repo.Name{}, repo.WithHint(fmt.Errorf("%s: %w: every version", name, repo.ErrDeleted),
			"'gpdedup stream list --deleted' shows what 'gpdedup stream undelete' may bring back")
	}
	return repo.Name{}, noStream(name, namespace)
}

// noStream says that there is no stream, or no version, of that name.
func noStream(name, namespace string) error {
	return repo.WithHint(fmt.Errorf("%s: %w (namespace %s)", name, repo.ErrNoStream, namespace),
		"'gpdedup stream list' shows what is there; --namespace chooses another cluster's")
}

// toFile writes the stream to the file that is asked for.
func (c *StreamGetCmd) toFile(g *Globals) error {
	file, err := replace("get stream", c.Output, "write to standard output instead")
	if err != nil {
		return err
	}
	var name repo.Name
	size, err := file.write(func(out io.Writer) (err error) {
		name, err = c.write(g, out)
		return err
	})
	if err != nil {
		return err
	}
	report := getReport{Namespace: g.Namespace, Name: name.Group, Version: name.Item, Bytes: uint64(size), Output: c.Output}
	return g.Print(report, func(w io.Writer) {
		say(w, "wrote %s to %s: %s", name, c.Output, formatBytes(report.Bytes))
	})
}
