package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/catalog"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage"
)

// salvage condemns damaged packs, and copies the good chunks in them that are nowhere else
// to new packs, a delta's base first, which fragments name.
//
// The order is that of a collector: condemn, then look. A collector that begins later
// does not count on the damaged packs; one that began before has put its own list by then,
// so what it is about to remove is not counted on here.
func (x *repairer) salvage(ctx context.Context) error {
	if len(x.bad) == 0 {
		return nil
	}
	if err := x.hints(ctx); err != nil {
		return err
	}
	if err := x.condemn(ctx); err != nil {
		return err
	}
	if err := x.look(ctx); err != nil {
		return err
	}
	cat := &x.c.cat
	plan := cat.NewPlan()
	for _, n := range x.bad {
		d, err := x.directory(ctx, n)
		if isNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		x.k.hinted[n] = d // the copier would ask the footer again
		for i := range d.entries {
			plan.Place(catalog.KeyOf(d.entries[i].ID))
		}
	}
	if x.o.DryRun {
		x.report.SalvagedChunks, x.report.SalvagedBytes = len(plan.Copies), plan.Bytes()
	} else if err := x.copy(ctx, plan); err != nil {
		return err
	}
	for n := range cat.Packs {
		cat.Packs[n].Condemned = false // to find out what is lost, whatever can be read counts
	}
	cat.Ask()
	return nil
}

// look lists gc/ and the packs, both twice: what is copied needs a location that will stay.
func (x *repairer) look(ctx context.Context) error {
	cat := &x.c.cat
	for n := range cat.Packs {
		cat.Packs[n].First, cat.Packs[n].Last = false, false
	}
	for i := range 2 {
		gc, err := x.r.lookGC(ctx)
		if err != nil {
			return err
		}
		for id := range gc.packs {
			if n, there := cat.Lookup(id); there {
				cat.Packs[n].Condemned = true
			}
		}
		x.c.gc = gc
		err = x.r.listPacks(ctx, func(id digest.ID, _ storage.Info) error {
			if n, known := cat.Lookup(id); known && i == 0 {
				cat.Packs[n].First = true
			} else if known {
				cat.Packs[n].Last = cat.Packs[n].First
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, n := range x.bad {
		cat.Packs[n].Condemned = true // in a dry run no list says so
	}
	cat.Sort()
	cat.Ask()
	return nil
}

// copy carries the plan out. What cannot be copied is bad.
func (x *repairer) copy(ctx context.Context, plan *catalog.Plan) error {
	if len(plan.Copies) == 0 {
		return nil
	}
	y := x.k.newCopier(plan)
	if err := y.run(ctx, "salvaging"); errors.Is(err, errAgain) {
		return WithHint(fmt.Errorf("salvage chunks: %w", err), "a prune is at work; run repair again")
	} else if err != nil {
		return fmt.Errorf("salvage chunks: %w", err)
	}
	x.report.SalvagedChunks, x.report.SalvagedBytes = y.chunks, y.bytes
	for i := range plan.Copies {
		if c := &plan.Copies[i]; y.failed[c.ID] != nil {
			x.c.cat.MarkBad(c.Pack, c.ID)
		}
	}
	x.c.sums = append(x.c.sums, make([]uint64, len(x.c.cat.Packs)-len(x.c.sums))...) // named already
	return nil
}

// condemn puts the damaged packs on a list: hits in them are misses. A collector removes each of them when all in
// it that is live has another location, so one that holds the only, damaged, copy of
// something stays until that is stored again, or deleted.
func (x *repairer) condemn(ctx context.Context) error {
	var ids []digest.ID
	for _, n := range x.bad {
		id := x.c.cat.Packs[n].ID
		if x.c.gc.packs[id] || x.c.gone[n] {
			continue
		}
		x.step(packKey(id), "save its good chunks, and condemn it; prune removes it when nothing in it is needed", "")
		ids = append(ids, id)
	}
	x.report.CondemnedPacks = len(ids)
	if x.o.DryRun {
		return nil
	}
	for part := range slices.Chunk(ids, maxListIDs) {
		if _, err := x.r.putGCList(ctx, condemnedPrefix, &gcList{ids: part}); err != nil {
			return fmt.Errorf("condemn damaged packs: %w", err)
		}
	}
	return nil
}

// directory returns what a pack holds, even if it does not say so itself any more.
func (x *repairer) directory(ctx context.Context, n int) (*directory, error) {
	if x.k.hinted[n] != nil {
		return x.k.hinted[n], nil
	}
	p := &x.c.cat.Packs[n]
	dir, err := x.r.directoryOf(ctx, p.ID, p.Size)
	if err != nil {
		return nil, err
	}
	return newDirectory(&dir), nil
}

// hints finds out what damaged packs hold of which neither the footer nor a fragment
// tells: manifests say where they expect chunks.
func (x *repairer) hints(ctx context.Context) error {
	unknown := make(map[digest.ID]int)
	for _, n := range x.bad {
		switch d, err := x.directory(ctx, n); {
		case err == nil:
			// A pack that was cut short may be known from a fragment only.
			x.c.cat.AddDirectory(&index.Pack{ID: x.c.cat.Packs[n].ID, Entries: d.entries})
		case isNotExist(err):
		case isDamage(err):
			unknown[x.c.cat.Packs[n].ID] = n
			x.k.hinted[n] = &directory{at: make(map[catalog.Key]int)}
		default:
			return err
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	f := x.r.newFetcher()
	defer f.close()
	for _, info := range x.c.streams {
		m, err := x.r.readManifest(ctx, info.Key)
		if err == nil {
			err = f.eachTable(ctx, m, func(t *manifest.Table) error {
				x.hintsOf(t, unknown)
				return nil
			})
		}
		if err != nil && (!isUnusable(err) || ctx.Err() != nil) {
			return err
		}
	}
	for id, n := range unknown {
		p := &index.Pack{ID: id, Entries: x.k.hinted[n].entries}
		x.c.cat.AddDirectory(p)
	}
	return nil
}

func (x *repairer) hintsOf(t *manifest.Table, unknown map[digest.ID]int) {
	for _, rows := range [2][]manifest.Chunk{t.Rows, t.Bases} {
		for i := range rows {
			row := &rows[i]
			if row.Pack == manifest.InlinePack {
				continue
			}
			pack := t.Packs[row.Pack].ID
			n, wanted := unknown[pack]
			if !wanted {
				continue
			}
			d, key := x.k.hinted[n], catalog.KeyOf(row.ID)
			if _, known := d.at[key]; known {
				continue
			}
			// Features went with the footer. An entry that claims to have some would be taken at its
			// word by the next delta against it, which would go without.
			flags := row.Flags &^ index.FlagFeatures
			e := index.Entry{ID: row.ID, Stored: row.Stored, Raw: row.Raw, Encoding: row.Encoding, Flags: flags, Depth: row.Depth}
			if row.Base != 0 {
				e.Base = t.Bases[row.Base-1].ID
			}
			d.at[key] = len(d.entries)
			d.entries = append(d.entries, e)
			d.locations = append(d.locations, index.Location{
				Pack: pack, Offset: row.Offset, Stored: row.Stored, Raw: row.Raw, Ordinal: row.Ordinal,
				Encoding: row.Encoding, Flags: flags, Depth: row.Depth, Base: e.Base,
			})
		}
	}
}
