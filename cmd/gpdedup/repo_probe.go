package main

import (
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/probe"
)

// RepoProbeCmd is gpdedup repo probe.
type RepoProbeCmd struct{}

// Help shows examples.
func (RepoProbeCmd) Help() string {
	return `Puts some small objects under probe/, in a race among other things, reads, lists and
deletes them, and says whether the storage does what a repository needs. No key is
needed, and no repository. What is "weaker" is good enough, with what is said; what is
"broken" is not, and the exit code is 1. 'repo init' does the same and records it.

Examples:

	gpdedup repo probe --repo s3://backup/gpdedup --endpoint https://s3.example.com
	gpdedup repo probe --repo /backup/gpdedup --json
`
}

type probeReport struct {
	Location string          `json:"location"`
	Verdict  probe.Verdict   `json:"verdict"`
	Findings []probe.Finding `json:"findings"`
}

// Run probes the storage.
func (RepoProbeCmd) Run(g *Globals) error {
	st, err := g.openStorage()
	if err != nil {
		return err
	}
	defer st.Close()
	found, err := probe.Run(g.Context(), st)
	if err != nil {
		return err
	}
	report := &probeReport{st.Location(), found.Verdict(), found.Findings}
	if err := g.Print(report, report.write); err != nil {
		return err
	}
	return unfit(st.Location(), found)
}

func (r *probeReport) write(w io.Writer) {
	t := newTable(w)
	for _, f := range r.Findings {
		row(t, f.Name, string(f.Verdict), f.Says)
	}
	_ = t.Flush() // to a buffer
}

// unfit returns an error if a repository would not be safe there.
func unfit(location string, r *probe.Report) error {
	if r.Verdict() != probe.Broken {
		return nil
	}
	for _, f := range r.Findings {
		if f.Verdict == probe.Broken {
			return repo.WithHint(fmt.Errorf("%s: %w: %s: %s", location, probe.ErrBroken, f.Name, f.Says),
				"use another storage, or ask who runs this one; 'gpdedup repo probe' shows all findings")
		}
	}
	return nil
}
