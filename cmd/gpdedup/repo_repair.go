package main

import (
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// RepoRepairCmd is gpdedup repo repair.
type RepoRepairCmd struct {
	ReadData  bool `name:"read-data" help:"Look for damage in every byte. Without it: in footers, manifests and index, and in packs that an earlier check found damaged."`
	Confirm   bool `help:"Also remove manifests that cannot be read; until then no garbage is collected."`
	Exclusive bool `help:"You guarantee that no backup and no prune runs: with --confirm, also remove lists of condemned packs that cannot be read."`
	DryRun    bool `name:"dry-run" help:"Say what would be done; change nothing."`
}

// Help shows examples.
func (RepoRepairCmd) Help() string {
	return `Saves what can be saved, beside running backups:

- good chunks of damaged packs are copied to new packs; prune removes the damaged ones once
  nothing in them is needed;
- chunks of which no good copy is left are marked lost: the next backup of the same data
  stores them again, and then every backup that needs them is whole again;
- the index is rebuilt from the packs where it is damaged or wrong.

What removes anything that may be of use is only said; --confirm does it. So: repair, back
up once more, look at what 'gpdedup repo check' still finds, and then, if need be, repair
--confirm.

The exit code is 4 while streams are damaged, or something is left to be confirmed.

Examples:

	gpdedup repo repair --dry-run
	gpdedup repo repair
	gpdedup repo repair --read-data --confirm
`
}

// repairReport is what repo repair prints.
type repairReport struct {
	*repo.RepairReport
	Affected []backups.Affected `json:"affected"`
}

// Run repairs.
func (c *RepoRepairCmd) Run(g *Globals) error {
	if c.Exclusive && !c.Confirm {
		return usageError("repair repository: --exclusive without --confirm", "give both, or neither")
	}
	r, err := g.Open("gc")
	if err != nil {
		return err
	}
	defer r.Close()
	stages := g.stages()
	done, err := r.Repair(g.Context(), repo.RepairOptions{
		ReadData: c.ReadData, Confirm: c.Confirm, Exclusive: c.Exclusive, DryRun: c.DryRun, Progress: stages,
	})
	stages("", 0, 0)
	if err != nil {
		return err
	}
	g.metrics.Set(metrics.RepairDamaged, float64(len(done.Damaged)))
	report := &repairReport{RepairReport: done}
	if report.Affected, err = backups.Affects(g.Context(), r, done.Names); err != nil {
		return fmt.Errorf("repair repository: %w", err)
	}
	if err := g.Print(report, report.write); err != nil {
		return err
	}
	left := 0
	for _, s := range report.Steps {
		if s.Needs != "" {
			left++
		}
	}
	if left == 0 && len(report.Damaged) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s %s damaged", count(len(report.Damaged), "stream"), map[bool]string{true: "is", false: "are"}[len(report.Damaged) == 1])
	hint := "back up the same data once more, then gpdedup repo check"
	if left > 0 {
		text += fmt.Sprintf(", %s left to be asked for", count(left, "step"))
		if len(report.Damaged) == 0 {
			hint = "what each step needs is said above"
		}
	}
	return repo.WithHint(fmt.Errorf("repair repository: %s: %w: %s", r.Storage().Location(), repo.ErrDamaged, text), hint)
}

func (p *repairReport) write(w io.Writer) {
	for _, s := range p.Steps {
		switch {
		case s.Needs != "":
			say(w, "left: %s: %s (needs %s)", s.Object, s.Action, s.Needs)
		case s.Done:
			say(w, "done: %s: %s", s.Object, s.Action)
		default:
			say(w, "would: %s: %s", s.Object, s.Action)
		}
	}
	for _, s := range p.Damaged {
		say(w, "damaged: %s", s)
	}
	writeAffected(w, p.Affected)
	if len(p.Steps) == 0 && p.IndexedPacks == 0 && len(p.Damaged) == 0 {
		say(w, "nothing to repair")
		return
	}
	would := ""
	if p.DryRun {
		would = "would be: "
	}
	_, _ = fmt.Fprintf(w, "%s%s with %s saved, %s marked lost, %s indexed, %s condemned, %s removed\n", would, count(p.SalvagedChunks, "chunk"),
		formatBytes(p.SalvagedBytes), count(p.LostChunks, "chunk"), count(p.IndexedPacks, "pack"),
		count(p.CondemnedPacks, "pack"), count(p.RemovedObjects, "object"))
}
