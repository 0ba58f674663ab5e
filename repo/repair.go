package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/storage"
)

// RepairOptions say what to repair, and how far.
type RepairOptions struct {
	// ReadData looks for damage in every byte of every pack. Without it a repair knows what
	// the footers of packs tell, and which packs an earlier check found damaged.
	ReadData bool
	// Confirm also removes manifests that cannot be read: until then no garbage is collected,
	// and what they rooted is not removed.
	Confirm bool
	// Exclusive says that no backup and no collector runs, so that a condemned list that
	// cannot be read may be removed.
	Exclusive bool
	// DryRun reports what would be done and changes nothing.
	DryRun bool
	// Progress is told what is going on: one call at a time.
	Progress func(stage string, done, total int64)
}

// RepairStep is one thing that a repair does, or leaves to be asked for.
type RepairStep struct {
	Object string `json:"object"`
	Action string `json:"action"`
	Done   bool   `json:"done"`
	Needs  string `json:"needs,omitempty"` // the flag, or the command, that it takes
}

// RepairReport says what Repair found and did.
type RepairReport struct {
	DryRun bool         `json:"dry_run"`
	Found  *CheckReport `json:"found"`
	Steps  []RepairStep `json:"steps"`

	SalvagedChunks int   `json:"salvaged_chunks"`
	SalvagedBytes  int64 `json:"salvaged_bytes"`
	CondemnedPacks int   `json:"condemned_packs"`
	LostChunks     int   `json:"lost_chunks"` // newly marked lost
	IndexedPacks   int   `json:"indexed_packs"`
	RemovedObjects int   `json:"removed_objects"`

	// Damaged are the streams that stay damaged, until a backup of the same data stores
	// what they have lost.
	Damaged []string `json:"damaged"`
	Names   []Name   `json:"-"` // the same
}

// repairer is one run of Repair.
type repairer struct {
	r      *Repo
	o      RepairOptions
	c      *checker
	report *RepairReport
	bad    []int      // packs that are damaged, and not by being newer
	k      *collector // copies for it
}

// Repair saves what can be saved. It may run beside backups, restores and collectors, but
// for what Exclusive allows:
//
//   - Good chunks of damaged packs that are nowhere else are copied to new packs, which
//     fragments name; then the damaged packs are condemned. They are removed by Prune, once
//     nothing in them is needed.
//   - Chunks of which no good copy is left are marked lost, so the next backup of the same
//     data stores them again, and every stream that needs them is whole again.
//   - Fragments that are damaged or wrong are replaced from the footers of packs.
//   - Manifests that cannot be read are removed, with Confirm.
func (r *Repo) Repair(ctx context.Context, o RepairOptions) (*RepairReport, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	level := CheckFooters
	if o.ReadData {
		level = CheckData
	}
	x := &repairer{r: r, o: o, report: &RepairReport{DryRun: o.DryRun, Steps: []RepairStep{}, Damaged: []string{}}}
	x.c = r.newChecker(CheckOptions{Level: level, Record: !o.DryRun, Progress: func(done, total int64) { o.Progress("checking", done, total) }})
	x.c.repair = true
	if err := x.c.run(ctx); err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	x.report.Found = x.c.finish()
	if err := x.run(ctx); err != nil {
		return x.report, fmt.Errorf("repair: %w", err)
	}
	return x.report, nil
}

func (x *repairer) run(ctx context.Context) error {
	x.k = &collector{
		r: x.r, now: x.c.now, report: &PruneReport{}, cat: &x.c.cat, o: PruneOptions{Progress: x.o.Progress}, hinted: make(map[int]*directory),
	}
	proceed, err := x.lists(ctx)
	if err != nil || !proceed {
		return err
	}
	for n, err := range x.c.bad {
		if !errors.Is(err, ErrNewer) {
			x.bad = append(x.bad, n)
		}
	}
	slices.Sort(x.bad)
	for _, key := range x.c.results.bad {
		if x.step(key, "remove what an earlier check left, which cannot be read", "") {
			if err := x.remove(ctx, key); err != nil {
				return err
			}
		}
	}
	for _, step := range []func(context.Context) error{x.salvage, x.reindex, x.manifests, x.marks} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for _, d := range x.report.Found.Damage {
		x.report.Damaged = append(x.report.Damaged, d.Streams...)
		x.report.Names = append(x.report.Names, d.Names...)
	}
	slices.Sort(x.report.Damaged)
	x.report.Damaged = slices.Compact(x.report.Damaged)
	if len(x.report.Found.Warnings) > 0 && !x.o.DryRun {
		if _, err := x.r.RefreshIndex(ctx); err != nil && ctx.Err() == nil {
			x.r.log.Warn("index cache is not up to date", "error", err)
		}
	}
	return ctx.Err()
}

// step notes what is done, or what it takes to have it done, and reports whether to do it.
func (x *repairer) step(object, action, needs string) bool {
	do := needs == "" && !x.o.DryRun
	x.report.Steps = append(x.report.Steps, RepairStep{Object: object, Action: action, Done: do, Needs: needs})
	return do
}

// confirm is what a step needs that removes something.
func (x *repairer) confirm() string {
	if x.o.Confirm {
		return ""
	}
	return "--confirm"
}

// lists deals with objects under gc/ that cannot be read, and reports whether the rest
// can be repaired: not while nobody knows which packs are condemned.
func (x *repairer) lists(ctx context.Context) (proceed bool, err error) {
	known := true
	if x.c.gc == nil {
		x.c.gc = &gcState{}
	}
	for _, key := range x.c.lists {
		switch {
		case strings.HasPrefix(key, condemnedPrefix):
			needs := x.confirm()
			if needs == "" && !x.o.Exclusive {
				needs = "--exclusive"
			}
			// A collector that knows the list may be about to remove what it names, and a
			// writer that does not could count on that.
			if !x.step(key, "remove the list of condemned packs, which cannot be read: only while no backup and no prune runs", needs) {
				known = false
				continue
			}
			if err := x.remove(ctx, key); err != nil {
				return false, err
			}
		case strings.HasPrefix(key, lostPrefix):
			needs := ""
			if !x.o.ReadData {
				needs = "--read-data" // which finds what was lost anew
			}
			if !x.step(key, "replace the list of lost chunks, which cannot be read", needs) {
				known = false
				continue
			}
			// First the new list: in between a writer could refer to what is lost.
			if err := x.marks(ctx); err != nil {
				return false, err
			}
			if err := x.remove(ctx, key); err != nil {
				return false, err
			}
		case strings.HasPrefix(key, tombstonePrefix):
			x.step(key, "what it deletes cannot be removed", "gpdedup backup undelete, then delete")
		default:
			x.step(key, "put it back from a copy, or add the key anew", "a copy")
		}
	}
	if !known {
		x.step("gc/", "everything else waits until the lists there can be read", "the above")
		return false, nil
	}
	if x.c.gc, err = x.r.lookGC(ctx); err != nil && x.o.DryRun && isDamage(err) {
		return false, nil
	}
	return err == nil, err
}

func (x *repairer) remove(ctx context.Context, key string) error {
	if err := x.r.st.Delete(ctx, key); err != nil {
		return fmt.Errorf("remove %s: %w", key, err)
	}
	x.report.RemovedObjects++
	return nil
}

// reindex names all packs in fragments that none names rightly, and then removes those
// that are wrong.
func (x *repairer) reindex(ctx context.Context) error {
	named := make(map[int]bool)
	var wrong []checkedFragment
	for _, f := range x.c.fragments {
		if f.wrong != nil {
			wrong = append(wrong, f)
			continue
		}
		for _, n := range f.packs {
			named[n] = true
		}
	}
	var packs []int
	for n := range x.c.sums {
		if x.c.sums[n] != 0 && x.c.bad[n] == nil && !named[n] {
			packs = append(packs, n)
		}
	}
	slices.SortFunc(wrong, func(a, b checkedFragment) int { return strings.Compare(a.id.String(), b.id.String()) })
	ok := true
	for _, f := range wrong {
		ok = x.step(fragmentKey(f.id), "replace it by what the packs themselves say", "")
	}
	if len(packs) > 0 && !x.o.DryRun {
		if err := x.index(ctx, packs); err != nil {
			return fmt.Errorf("rebuild the index: %w", err)
		}
	}
	if x.o.DryRun {
		x.report.IndexedPacks = len(packs)
	}
	// Only now, when all that was right in them is said elsewhere.
	for _, f := range wrong {
		if !ok {
			break
		}
		if err := x.remove(ctx, fragmentKey(f.id)); err != nil {
			return err
		}
	}
	return nil
}

// index names packs in fragments. The packs are listed after their footers were read: what
// is gone by then is not put back into the index.
func (x *repairer) index(ctx context.Context, numbers []int) error {
	dirs := make([]*index.Pack, len(numbers))
	for i, n := range numbers {
		p := &x.c.cat.Packs[n]
		dir, err := x.r.readFooter(ctx, p.ID, p.Size)
		if isNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		dirs[i] = &dir
		x.o.Progress("rebuilding the index", int64(i+1), int64(len(numbers)))
	}
	there := make(map[digest.ID]bool)
	err := x.r.listPacks(ctx, func(id digest.ID, _ storage.Info) error {
		there[id] = true
		return nil
	})
	if err != nil {
		return err
	}
	var packs []index.Pack
	entries := 0
	put := func() error {
		if len(packs) == 0 {
			return nil
		}
		_, err := x.r.putFragment(ctx, packs)
		x.report.IndexedPacks += len(packs)
		packs, entries = nil, 0
		return err
	}
	for _, dir := range dirs {
		if dir == nil || !there[dir.ID] {
			continue
		}
		if entries > 0 && entries+len(dir.Entries) > x.r.opts.Limits.FragmentEntries {
			if err := put(); err != nil {
				return err
			}
		}
		packs = append(packs, *dir)
		entries += len(dir.Entries)
	}
	return put()
}

// manifests moves manifests out of the way that cannot be read, or whose leaf lists
// cannot: while one is there nobody knows what it roots, and nothing is collected. Only
// the one object goes. A tombstone would delete all of its timestamp, and what else is
// stored of that may still be of use. To remove a manifest is always allowed: it goes
// before what it needs.
func (x *repairer) manifests(ctx context.Context) error {
	for _, info := range x.c.unread {
		if err := twice(ctx, func() error { return x.readable(ctx, info.Key) }); err == nil || isNotExist(err) {
			continue
		} else if !isDamage(err) || ctx.Err() != nil {
			return err
		}
		if x.step(info.Key, "remove the manifest, which cannot be read: until then no garbage is collected", x.confirm()) {
			if err := x.remove(ctx, info.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// readable reads a manifest and its leaf lists.
func (x *repairer) readable(ctx context.Context, key string) error {
	m, err := x.r.readManifest(ctx, key)
	if err != nil {
		return err
	}
	if _, err = x.r.packsOf(ctx, m); isNotExist(err) {
		if _, gone := x.r.st.Stat(ctx, key); gone == nil {
			return fmt.Errorf("%w: %s", ErrDamaged, err.Error()) // the pack is gone, not the manifest
		}
	}
	return err
}
