package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/retention"
)

// RepoCheckCmd is gpdedup repo check.
type RepoCheckCmd struct {
	List        bool          `xor:"level" help:"Only list the objects, and read manifests and index: the quickest."`
	ReadData    bool          `name:"read-data" xor:"level" help:"Read and verify every byte: takes as long as reading the whole repository."`
	Subset      string        `name:"read-data-subset" xor:"level" placeholder:"5%|n/m|10GB" help:"Read and verify a part of the packs: so much of them, least recently read first, or part n of m."`
	MaxAge      retention.Age `name:"max-age" placeholder:"TIME" help:"Read only packs that no check has read for this long: 30d, 2w, 12h."`
	MaxDuration time.Duration `name:"max-duration" placeholder:"TIME" help:"Begin to read no more packs after this time, as 1h; least recently read first."`
	New         bool          `help:"Read only packs that streams refer to and that no check has read."`
}

// Help shows examples.
func (RepoCheckCmd) Help() string {
	return `Without a flag, the list of contents of every pack is read too, but not the contents, and
compared with the index. The exit code is 4 when damage is found. What is printed names
every damaged object and the streams that cannot be restored because of it, by their kind
(gp, stream or base), namespace and name; and of gpbackup's backups the tables. What seems
damaged is read twice. 'gpdedup repo repair' is the next step.

Which packs were read, and when, is remembered in the repository. So a check every night
with --max-duration or --read-data-subset 5% reads everything in time.

Examples:

	gpdedup repo check
	gpdedup repo check --read-data
	gpdedup repo check --max-duration 1h --max-age 30d
	gpdedup repo check --read-data-subset 3/7
	gpdedup repo check --new
`
}

// checkReport is what repo check prints.
type checkReport struct {
	*repo.CheckReport
	Affected []backups.Affected `json:"affected"`
}

// Run looks for damage.
func (c *RepoCheckCmd) Run(g *Globals) error {
	o, err := c.options(time.Now())
	if err != nil {
		return err
	}
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	update, done := g.lateProgress("checking", size.Format)
	o.Progress = update
	found, err := r.Check(g.Context(), o)
	done()
	if err != nil {
		return fmt.Errorf("check repository: %w", err)
	}
	g.countCheck(found)
	archives, err := r.Storage().Children(g.Context(), "wal/")
	if err != nil {
		return fmt.Errorf("check repository: %w", err)
	}
	report := &checkReport{CheckReport: found}
	if report.Affected, err = backups.Affects(g.Context(), r, damagedNames(found)); err != nil {
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
	hint := "gpdedup repo repair saves what can be saved"
	if len(streams) == 0 {
		hint = "no stream needs what is damaged: gpdedup repo repair condemns or replaces it; what was condemned stays until a prune a day later"
	}
	return repo.WithHint(fmt.Errorf("check repository: %s: %w: %s; %s cannot be restored whole", r.Storage().Location(), repo.ErrDamaged,
		count(len(report.Damage), "object"), count(len(streams), "stream")), hint)
}

func damagedNames(report *repo.CheckReport) []repo.Name {
	seen := make(map[repo.Name]bool)
	var names []repo.Name
	for _, d := range report.Damage {
		for _, name := range d.Names {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// options reads the flags.
func (c *RepoCheckCmd) options(now time.Time) (repo.CheckOptions, error) {
	o := repo.CheckOptions{Level: repo.CheckFooters, Record: true}
	if c.MaxDuration < 0 {
		return o, usageError("check repository: --max-duration is less than 0", "")
	}
	o.Choose = repo.PackChoice{OlderThan: c.MaxAge, New: c.New}
	if c.MaxDuration > 0 {
		o.Choose.Deadline = now.Add(c.MaxDuration)
	}
	partly := c.Subset != "" || !c.MaxAge.IsZero() || c.MaxDuration > 0 || c.New
	switch {
	case c.List && partly:
		return o, usageError("check repository: --list reads no packs", "leave --list out, or --max-age, --max-duration and --new")
	case c.List:
		o.Level = repo.CheckList
	case c.ReadData || partly:
		o.Level = repo.CheckData
	}
	if c.Subset == "" {
		return o, nil
	}
	wrong := usageError(fmt.Sprintf("check repository: --read-data-subset %q is none of 5%%, n/m, 10GB", c.Subset), "gpdedup repo check --help")
	if part, parts, ok := strings.Cut(c.Subset, "/"); ok {
		n, err1 := strconv.Atoi(part)
		m, err2 := strconv.Atoi(parts)
		if err1 != nil || err2 != nil || n < 1 || m < n {
			return o, wrong
		}
		o.Choose.Part, o.Choose.Parts = n, m
		return o, nil
	}
	if text, ok := strings.CutSuffix(c.Subset, "%"); ok {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f > 0 && f <= 100) {
			return o, wrong
		}
		o.Choose.Percent = f
		return o, nil
	}
	n, err := size.Parse(c.Subset)
	if err != nil || n < 1 {
		return o, wrong
	}
	o.Choose.Bytes = n
	return o, nil
}

// manyTables is how many tables of a backup are named on a line.
const manyTables = 20

func writeCheck(w io.Writer, report *checkReport) {
	for _, d := range report.Damage {
		say(w, "damaged: %s: %s", d.Object, d.Problem)
		for _, s := range d.Streams {
			say(w, "    needed by %s", s)
		}
	}
	writeAffected(w, report.Affected)
	for _, text := range report.Warnings {
		say(w, "warning: %s", text)
	}
	verdict := "no damage found"
	if len(report.Damage) > 0 {
		verdict = "damage found"
	}
	say(w, "%s: %s with %s, %s, %s, %s read", verdict, count(report.Packs, "pack"), count(report.Chunks, "chunk"),
		count(report.Fragments, "index fragment"), count(report.Manifests, "manifest"), formatBytes(report.BytesRead))
	if report.Unfinished {
		say(w, "time was up: run it again to go on")
	}
	switch {
	case report.NeverRead > 0 && report.NeverRead < report.Packs:
		say(w, "%s of %d never read whole by a check", count(report.NeverRead, "pack"), report.Packs)
	case report.OldestRead != nil && report.NeverRead == 0:
		say(w, "every pack was read whole since %s", formatTime(*report.OldestRead))
	}
}

// writeAffected says which tables of which backups damage is about.
func writeAffected(w io.Writer, list []backups.Affected) {
	for i := range list {
		a := &list[i]
		what := slices.Concat(a.Tables, a.Streams)
		more := ""
		if len(what) > manyTables {
			more = fmt.Sprintf(" and %d more", len(what)-manyTables)
			what = what[:manyTables]
		}
		say(w, "concerned: %s %s: %s%s", a.Namespace, a.Timestamp, strings.Join(what, ", "), more)
		if a.Reason != "" {
			say(w, "    %s", a.Reason)
		}
	}
}
