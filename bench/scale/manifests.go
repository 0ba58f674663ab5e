//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/local"
)

// The repositories with many manifests: half of the streams belong to backups of 250 files each, the other half are named
// streams of 50 versions each. All are small enough to lie in their manifests.
const (
	manifestCount = 1000 // in the smallest
	backupTables  = 246
	backupFiles   = backupTables + 4
	versions      = 50
)

// manifests measures a repository with manifests of one number.
func (b *bench) manifests(ctx context.Context, t *table, power int) (err error) {
	n := manifestCount
	for range power {
		n *= 10
	}
	progress("%s manifests", count(n))
	t.column(count(n) + " manifests")
	p, err := b.newPlace(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.fill(ctx, n); err != nil {
		return err
	}
	last := timestamp(n)
	for _, step := range []struct {
		what string
		do   func() (process.Usage, error)
	}{
		{"the hook before a backup", func() (process.Usage, error) {
			return p.b.run(ctx, process.Command{Args: []string{b.set.exe, "setup_plugin_for_backup", p.config, "/data/gpseg0", "segment_host"}})
		}},
		{"backup_data of 100 MB", func() (process.Usage, error) {
			return p.plugin(ctx, "backup_data", streamPath(last, 1), newSource(newText/int64(b.set.divide)), nil)
		}},
		{"backup_data of 200 bytes", func() (process.Usage, error) {
			return p.plugin(ctx, "backup_data", streamPath(last, 2), newSource(200), nil)
		}},
		{"restore_data of 100 MB", func() (process.Usage, error) {
			return p.plugin(ctx, "restore_data", streamPath(last, 1), nil, nil)
		}},
		{"backup list", func() (process.Usage, error) { return p.command(ctx, "backup", "list") }},
		{"backup list --limit 10", func() (process.Usage, error) { return p.command(ctx, "backup", "list", "--limit", "10") }},
		{"backup list --no-sizes", func() (process.Usage, error) { return p.command(ctx, "backup", "list", "--no-sizes") }},
		{"stream list", func() (process.Usage, error) { return p.command(ctx, "stream", "list") }},
		{"repo prune --dry-run, the first on this host", func() (process.Usage, error) { return p.command(ctx, "repo", "prune", "--dry-run") }},
		{"repo prune --dry-run, again", func() (process.Usage, error) { return p.command(ctx, "repo", "prune", "--dry-run") }},
		{"repo check", func() (process.Usage, error) { return p.command(ctx, "repo", "check") }},
	} {
		u, err := step.do()
		if err != nil {
			return err
		}
		if err := b.WaitOrphans(ctx); err != nil { // the hook's child brings the index up to date
			return err
		}
		t.set(step.what, "%s", describe(u))
	}
	return nil
}

// timestamp is that of backup n.
func timestamp(n int) string {
	return time.Date(2000, 1, 1, 21, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Hour).Format("20060102150405")
}

// fill stores so many streams with the program's own code, but for the durability, which would take an hour.
func (p *place) fill(ctx context.Context, manifests int) error {
	st, err := local.Open(p.repo)
	if err != nil {
		return err
	}
	r, err := repo.Open(ctx, &unsynced{Storage: st, dir: p.repo}, "write", repo.Options{Secret: repo.Secret{KeyFile: p.key}})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	defer r.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	put := func(name repo.Name, text string) error {
		_, err := r.Write(ctx, name, strings.NewReader(text), repo.WriteOptions{})
		return err
	}
	for n := range manifests / 2 / backupFiles {
		g.Go(func() error {
			return gpbackup(timestamp(n), func(file, text string) error {
				return put(repo.Name{Class: repo.Backup, Namespace: "default", Group: timestamp(n), Item: file}, text)
			})
		})
	}
	for n := range manifests / 2 / versions {
		g.Go(func() error {
			for v := range versions {
				at := time.Date(2026, 1, 1, 0, v, 0, 0, time.UTC).Format("20060102T150405.000000Z") + fmt.Sprintf("-%04x", v)
				if err := put(repo.Name{Class: repo.Named, Namespace: "default", Group: fmt.Sprintf("stream%d", n), Item: at}, fmt.Sprint("version ", v, " of ", n)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// gpbackup makes the files of a backup of small tables.
func gpbackup(ts string, put func(file, text string) error) error {
	var toc bytes.Buffer
	toc.WriteString("dataentries:\n")
	for oid := 1; oid <= backupTables; oid++ {
		fmt.Fprintf(&toc, "- schema: public\n  name: table%d\n  oid: %d\n  attributestring: (a,b)\n  rowscopied: 3\n", oid, oid)
		text := fmt.Sprintf("1,%d,%s,first\n2,%d,%s,second\n3,%d,%s,third\n", oid, ts, oid+1, ts, oid+2, ts)
		if err := put(fmt.Sprintf("gpbackup_0_%s_%d", ts, oid), text); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, text string }{
		{"metadata.sql", "CREATE TABLE public.table1 (a int, b int);\n"},
		{"toc.yaml", toc.String()},
		{"config.yaml", "databasename: sales\nsegmentcount: 1\nstatus: Success\ntimestamp: \"" + ts + "\"\n"},
		{"report", "Greenplum Database Backup Report\n\nbackup status: Success\n"},
	} {
		if err := put("gpbackup_"+ts+"_"+f.name, f.text); err != nil {
			return err
		}
	}
	return nil
}
