package main

import (
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/repo"
)

// RepoCheckCmd is gpdedup repo check.
type RepoCheckCmd struct {
	List     bool `xor:"level" help:"Only list the objects, and read manifests and index: the quickest."`
	ReadData bool `name:"read-data" xor:"level" help:"Read and verify every byte: takes as long as reading the whole repository."`
}

// Help shows examples.
func (RepoCheckCmd) Help() string {
	return `Without a flag, the list of contents of every pack is read too, but not the contents.
The exit code is 4 when damage is found. What is printed names every damaged object and
the streams that cannot be restored because of it. A stream is named by its kind (gp,
stream or base), its namespace and its name.

Examples:

	gpdedup repo check
	gpdedup repo check --read-data
`
}

// Run looks for damage.
func (c *RepoCheckCmd) Run(g *Globals) error {
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	level := repo.CheckFooters
	switch {
	case c.List:
		level = repo.CheckList
	case c.ReadData:
		level = repo.CheckData
	}
	update, done := g.lateProgress("checking", size.Format)
	report, err := r.Check(g.Context(), repo.CheckOptions{Level: level, Progress: update})
	done()
	if err != nil {
		return fmt.Errorf("check repository: %w", err)
	}
	archives, err := r.Storage().Children(g.Context(), "wal/")
	if err != nil {
		return fmt.Errorf("check repository: %w", err)
	}
	err = g.Print(report, func(w io.Writer) {
		writeCheck(w, report)
		for _, a := range archives {
			if name, err := repo.UnescapeName(a.Name); err == nil {
				say(w, "not looked at: the WAL archive of %s; see 'gpdedup wal verify --cluster %[1]s'", name)
			}
		}
	})
	if err != nil {
		return err
	}
	if len(report.Damage) == 0 {
		return nil
	}
	streams := make(map[string]bool)
	for _, d := range report.Damage {
		for _, s := range d.Streams {
			streams[s] = true
		}
	}
	return fmt.Errorf("check repository: %s: %w: %s; %s cannot be restored whole", r.Storage().Location(), repo.ErrDamaged,
		count(len(report.Damage), "object"), count(len(streams), "stream"))
}

func writeCheck(w io.Writer, report *repo.CheckReport) {
	for _, d := range report.Damage {
		say(w, "damaged: %s: %s", d.Object, d.Problem)
		for _, s := range d.Streams {
			say(w, "    needed by %s", s)
		}
	}
	for _, text := range report.Warnings {
		say(w, "warning: %s", text)
	}
	verdict := "no damage found"
	if len(report.Damage) > 0 {
		verdict = "damage found"
	}
	say(w, "%s: %s with %s, %s, %s, %s read", verdict, count(report.Packs, "pack"), count(report.Chunks, "chunk"),
		count(report.Fragments, "index fragment"), count(report.Manifests, "manifest"), formatBytes(report.BytesRead))
}
