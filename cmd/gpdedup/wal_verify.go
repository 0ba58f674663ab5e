package main

import (
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// WalVerifyCmd is gpdedup wal verify.
type WalVerifyCmd struct {
	Data bool `name:"data" help:"Read and check every byte, and the header of every WAL page; without it, the first 4 KiB of each file."`
}

// Help shows examples.
func (WalVerifyCmd) Help() string {
	return `Reports damaged files, gaps, missing or contradicting histories, base backups that
cannot be restored, and as warnings segments that no recovery will ask for. Without
--content, all content ids of the namespace are checked. The exit code is 4 if anything
was found that will fail a recovery, and 1 if there is no WAL at all.

Examples:

	gpdedup wal verify --cluster main
	gpdedup wal verify --cluster main --data --json
`
}

// Run checks archives.
func (c *WalVerifyCmd) Run(g *Globals, w *WalCmd) error {
	r, archives, err := w.openAll(g, "read")
	if err != nil {
		return err
	}
	defer r.Close()
	reports := []*wal.Verification{}
	lost := 0
	for _, a := range archives {
		update, done := g.lateProgress("verifying content "+a.Content, size.Format)
		v, err := a.Verify(g.Context(), c.Data, update)
		done()
		if err != nil {
			return fmt.Errorf("wal verify: %w", err)
		}
		lost += v.Lost()
		g.metrics.Set(metrics.WALProblems, float64(v.Lost()), a.Content)
		reports = append(reports, v)
	}
	others := ""
	if len(reports) == 0 {
		if others, err = otherArchives(g, r); err != nil {
			return fmt.Errorf("wal verify: %w", err)
		}
	}
	err = g.Print(reports, func(out io.Writer) {
		for _, v := range reports {
			writeVerification(out, v)
		}
	})
	if err == nil && len(reports) == 0 {
		// It may be that the name is wrong, and nobody shall believe that this cluster's archive is whole.
		err = fmt.Errorf("wal verify: no WAL is archived in namespace %s%s", oneLine(g.Namespace), others)
	}
	if err == nil && lost > 0 {
		err = fmt.Errorf("wal verify: %w: %s that will fail a recovery", repo.ErrDamaged, count(lost, "problem"))
	}
	return err
}

func writeVerification(w io.Writer, v *wal.Verification) {
	for _, p := range v.Problems {
		say(w, "%s: %s: %s: %s", p.Severity, p.Kind, p.Object, p.Problem)
	}
	say(w, "namespace %s, content %s: %s in %s, %s read, %s", v.Namespace, v.Content, count(v.Files, "file"),
		count(len(v.Epochs), "system"), formatBytes(v.BytesRead), count(len(v.Problems), "problem"))
}
