package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// Options say what to report.
type Options struct {
	Namespace string // only this one; empty: all
	Version   string // of the program
	Now       time.Time
	Capacity  int64 // bytes that the storage may take; 0: not known
	Top       int   // how many tables and streams are listed
	Prune     bool  // find out what a prune would free, as its dry run does
	// Progress is told what is going on: one call at a time.
	Progress func(stage string, done, total int64)
}

// collector is a Report in the making.
type collector struct {
	r   *repo.Repo
	o   Options
	out *Report

	census    *repo.Census
	databases map[[2]string]*Database // by namespace and database
	tables    map[tableKey]*Table
	named     map[[2]string]*Named // by namespace and name
	first     int64                // the day on which the first of all roots was whole; 0: there is none
}

type tableKey struct{ namespace, database, kind, table string }

// Collect looks at the repository.
func Collect(ctx context.Context, r *repo.Repo, o Options) (*Report, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	o.Now = o.Now.UTC()
	config := r.Config()
	c := &collector{
		r: r, o: o, databases: make(map[[2]string]*Database), tables: make(map[tableKey]*Table), named: make(map[[2]string]*Named),
		out: &Report{
			Generated: o.Now.Truncate(time.Second), Version: o.Version, Namespace: o.Namespace,
			Repository: Repository{config.IDHex, r.Storage().Location(), config.Created, config.Encryption},
			Attention:  []string{}, Objects: []Object{}, Days: []Day{}, Databases: []Database{}, Tables: []Table{}, Streams: []Named{},
			Backups: []Root{}, Archives: []Archive{}, Bases: nil,
		},
	}
	for _, step := range []func(context.Context) error{c.listing, c.backups, c.singles, c.archives, c.prune} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	c.days()
	c.check()
	c.finish()
	return c.out, nil
}

// listing counts the objects.
func (c *collector) listing(ctx context.Context) (err error) {
	c.o.Progress("listing", 0, 0)
	if c.census, err = c.r.Census(ctx); err != nil {
		return err
	}
	c.out.Objects = append(c.out.Objects, c.census.Objects...)
	c.out.Totals.Stored = c.census.Stored
	for _, d := range c.census.Days {
		c.out.Totals.WAL += d.WAL
	}
	return nil
}

// namespaces returns those to look at that hold streams of the class.
func (c *collector) namespaces(ctx context.Context, class repo.Class) ([]string, error) {
	all, err := c.r.Namespaces(ctx, class)
	if err != nil || c.o.Namespace == "" {
		return all, err
	}
	return slices.DeleteFunc(all, func(ns string) bool { return ns != c.o.Namespace }), nil
}

// backups looks at gpbackup's timestamps.
func (c *collector) backups(ctx context.Context) error {
	namespaces, err := c.namespaces(ctx, repo.Backup)
	if err != nil {
		return err
	}
	for _, ns := range namespaces {
		stage := "reading backups of " + ns
		list, err := backups.Scan(ctx, c.r, ns, backups.ScanOptions{
			Streams:  c.addTables,
			Progress: func(done, total int) { c.o.Progress(stage, int64(done), int64(total)) },
		})
		if err != nil {
			return err
		}
		for i := range list {
			c.addBackup(&list[i])
		}
	}
	return nil
}

func (c *collector) addBackup(s *backups.Summary) {
	root := Root{
		Class: repo.Backup, Namespace: s.Namespace, Name: s.Timestamp, Database: s.Database, Type: s.Type, Status: s.Status, Reason: s.Reason,
		Stored: s.LastStored, Streams: s.Streams,
	}
	if s.Bytes != nil {
		root.Logical, root.Added = *s.Bytes, *s.NewBytes
	}
	c.addRoot(root)
	if s.Status == backups.Deleted {
		return
	}
	key := [2]string{s.Namespace, s.Database}
	d := c.databases[key]
	if d == nil {
		d = &Database{Namespace: s.Namespace, Database: s.Database}
		c.databases[key] = d
	}
	d.Backups++
	d.Logical += root.Logical
	d.Added += root.Added
	c.out.Totals.Backups++
	if s.Status == backups.Complete {
		d.Complete++
		c.out.Totals.Complete++
		if s.LastStored.After(d.Last) {
			d.Last, d.LastSize, d.LastAdded = s.LastStored, root.Logical, root.Added
		}
	}
}

// addRoot counts what all classes have in common.
func (c *collector) addRoot(root Root) {
	c.out.Backups = append(c.out.Backups, root)
	t := &c.out.Totals
	if root.Status == backups.Deleted {
		t.Deleted++
		t.DeletedAdd += root.Added
	} else {
		t.Logical += root.Logical
		t.Added += root.Added
	}
	if day := dayOf(root.Stored); !root.Stored.IsZero() && (c.first == 0 || day < c.first) {
		c.first = day
	}
}

// Kinds of tables.
const (
	oneTable = "table"
	allData  = "single_data_files" // of --single-data-file: nobody knows what each table took
	ownFiles = "gpbackup_files"
)

// addTables adds up the streams of a backup by table.
func (c *collector) addTables(s *backups.Summary, streams []backups.Stream) {
	if s.Status == backups.Deleted {
		return
	}
	type size struct{ logical, added uint64 }
	sizes := make(map[tableKey]size)
	for i := range streams {
		x := &streams[i]
		if x.Bytes == nil {
			continue
		}
		key := tableKey{s.Namespace, s.Database, ownFiles, ""}
		switch x.Kind {
		case backups.TableData:
			key.kind, key.table = oneTable, x.Table
			if x.Table == "" {
				key.table = fmt.Sprintf("oid %d", backups.ParseFile(s.Timestamp, x.Name).OID)
			}
		case backups.SegmentData, backups.SegmentTOCFile:
			key.kind = allData
		}
		had := sizes[key]
		sizes[key] = size{had.logical + *x.Bytes, had.added + *x.NewBytes}
	}
	for key, size := range sizes {
		t := c.tables[key]
		if t == nil {
			t = &Table{Namespace: key.namespace, Database: key.database, Kind: key.kind, Table: key.table}
			c.tables[key] = t
		}
		t.Backups++
		t.Logical += size.logical
		t.Added += size.added
		if s.Timestamp > t.last {
			t.last, t.LastSize, t.LastAdded = s.Timestamp, size.logical, size.added
		}
	}
}

// singles looks at named streams and base backups, which are one stream each.
func (c *collector) singles(ctx context.Context) error {
	for _, class := range []repo.Class{repo.Named, repo.Base} {
		namespaces, err := c.namespaces(ctx, class)
		if err != nil {
			return err
		}
		for _, ns := range namespaces {
			if err := c.singlesOf(ctx, class, ns); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *collector) singlesOf(ctx context.Context, class repo.Class, namespace string) error {
	deleted, err := c.r.DeletedGroups(ctx, class, namespace)
	if err != nil {
		return err
	}
	groups, err := c.r.Groups(ctx, class, namespace)
	if err != nil {
		return err
	}
	stage := "reading streams of " + namespace
	for i, group := range groups {
		items, err := c.r.Items(ctx, class, namespace, group)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(8)
		for _, item := range items {
			g.Go(func() error {
				root, err := c.single(gctx, item, deleted[item.Name.String()])
				if err == nil && root != nil {
					mu.Lock()
					defer mu.Unlock()
					c.addSingle(root, item)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		c.o.Progress(stage, int64(i+1), int64(len(groups)))
	}
	return nil
}

// single describes a stream; nil if it was removed meanwhile.
func (c *collector) single(ctx context.Context, item repo.Item, deleted bool) (*Root, error) {
	root := &Root{
		Class: item.Name.Class, Namespace: item.Name.Namespace, Name: item.Name.String(), Status: backups.Complete,
		Stored: item.Stored.UTC(), Streams: 1,
	}
	if !item.Complete() {
		root.Status, root.Streams, root.Reason = backups.Incomplete, 0, "only checkpoints of it are stored: it is being written, or was cut off"
		root.Stored = time.Time{}
		return root, nil
	}
	head, err := c.r.Head(ctx, item.Name)
	switch {
	case errors.Is(err, repo.ErrNoStream):
		return nil, nil // it is gone
	case errors.Is(err, repo.ErrDamaged), errors.Is(err, repo.ErrNewer):
		root.Status, root.Reason = backups.Damaged, err.Error()
	case err != nil:
		return nil, err
	default:
		root.Logical, root.Added = head.Length, head.Stats.NewStored+uint64(item.Bytes)
	}
	if deleted {
		root.Status, root.Reason = backups.Deleted, ""
	}
	return root, nil
}

func (c *collector) addSingle(root *Root, item repo.Item) {
	c.addRoot(*root)
	if root.Status == backups.Deleted || root.Streams == 0 {
		return
	}
	if root.Class == repo.Base {
		c.out.Totals.Bases++
		return
	}
	c.out.Totals.Versions++
	key := [2]string{root.Namespace, item.Name.Group}
	n := c.named[key]
	if n == nil {
		n = &Named{Namespace: root.Namespace, Name: item.Name.Group}
		c.named[key] = n
	}
	n.Versions++
	n.Logical += root.Logical
	n.Added += root.Added
	if root.Stored.After(n.Last) {
		n.Last, n.LastSize, n.LastAdded = root.Stored, root.Logical, root.Added
	}
}

// prune says what a prune would give back.
func (c *collector) prune(ctx context.Context) error {
	p := &c.out.Prune
	*p = Prune{
		Condemned: c.census.CondemnedPacks, Bytes: c.census.CondemnedBytes, DeletedRoots: c.census.DeletedRoots, AtMost: c.out.Totals.DeletedAdd,
	}
	if !c.o.Prune {
		return nil
	}
	found, err := c.r.Prune(ctx, repo.PruneOptions{
		Grace: repo.DefaultGrace, MinAge: repo.DefaultMinAge, MaxUnused: repo.DefaultMaxUnused, DryRun: true,
		Progress: c.o.Progress,
	})
	if err != nil {
		return err
	}
	p.Survey = &PruneSurvey{Free: found.CondemnedBytes + found.WaitingBytes - found.CopiedBytes, Unused: found.UnusedBytes, Kept: found.KeptBytes}
	return nil
}

// finish sorts and cuts the lists, and says what somebody should look at.
func (c *collector) finish() {
	out := c.out
	slices.SortFunc(out.Backups, func(a, b Root) int {
		return cmp.Or(b.Stored.Compare(a.Stored), strings.Compare(b.Name, a.Name), strings.Compare(a.Namespace, b.Namespace))
	})
	for _, d := range c.databases {
		out.Databases = append(out.Databases, *d)
	}
	slices.SortFunc(out.Databases, func(a, b Database) int {
		return cmp.Or(cmp.Compare(b.Added, a.Added), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Database, b.Database))
	})
	for _, t := range c.tables {
		out.Tables = append(out.Tables, *t)
	}
	slices.SortFunc(out.Tables, func(a, b Table) int {
		return cmp.Or(cmp.Compare(b.Added, a.Added), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Database, b.Database),
			strings.Compare(a.Kind, b.Kind), strings.Compare(a.Table, b.Table))
	})
	out.TableCount = len(out.Tables)
	out.Tables = slices.Clone(out.Tables[:min(c.o.Top, len(out.Tables))])
	for _, n := range c.named {
		out.Streams = append(out.Streams, *n)
	}
	slices.SortFunc(out.Streams, func(a, b Named) int {
		return cmp.Or(cmp.Compare(b.Added, a.Added), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	out.NamedCount = len(out.Streams)
	out.Streams = slices.Clone(out.Streams[:min(c.o.Top, len(out.Streams))])
	out.Attention = append(out.Attention, attention(out)...)
}
