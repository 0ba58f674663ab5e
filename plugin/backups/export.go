package backups

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
)

// What gprestore wants of a directory that it is given with --backup-dir, by the
// functions of gpbackup that ask for it. The same holds from gpbackup 1.26 to 1.30
// and for Cloudberry.
//
//   - ParseSegPrefix: exactly one DIR/*-1/backups, and nothing at
//     DIR/backups/<date>/<timestamp>, which would be the layout of
//     --single-backup-dir.
//   - GetDirForContent: DIR/<prefix><content>/backups/<first 8 digits>/<timestamp>,
//     content -1 for the coordinator; the prefix is not empty
//     (GetTableBackupFilePathForCopyCommand leaves the folder out when it is).
//   - VerifyMetadataFilePaths: config.yaml, toc.yaml and metadata.sql, and
//     statistics.sql for --with-stats. The report is not asked for, and no
//     plugin_config.yaml, which may hold secrets: it stays behind.
//   - VerifyBackupDirectoriesExistOnAllHosts: the directory of every segment, also
//     of one without files, unless the backup is metadata-only.
//   - VerifyBackupFileCountOnSegments: in a segment's directory as many files as
//     toc.yaml has data entries, or two with --single-data-file. Older versions
//     count every file, so nothing else may lie there, and no temporary one stays.
//     Two are asked for even if there is no data; see emptySegment.
//   - validateBackupFlagPluginCombinations: an empty plugin in config.yaml; see
//     withoutPlugin.
//   - GetBackupFPInfoListFromRestorePlan: the same layout for every timestamp of
//     the restore plan.

// ExportOptions say how to export.
type ExportOptions struct {
	// SegmentPrefix is what precedes the content id in the names of the segments'
	// directories. Empty: that of a backup which is in the directory already, else
	// that of the data directories which the backup came from, else "gpseg".
	SegmentPrefix string
	// Overwrite replaces what is in the directory of the timestamp.
	Overwrite bool
	// Progress is told how many of the bytes were written, as they are before
	// compression, by one goroutine at a time.
	Progress func(done, total int64)
}

// ExportReport says what was written.
type ExportReport struct {
	Timestamp     string    `json:"timestamp"`
	Namespace     string    `json:"namespace"`
	OK            bool      `json:"ok"` // everything was written
	Directory     string    `json:"directory"`
	SegmentPrefix string    `json:"segment_prefix"`
	Exported      []string  `json:"exported"` // timestamps: the ancestors, the oldest first, and this one
	Files         int       `json:"files"`
	Bytes         uint64    `json:"bytes"` // of the streams, uncompressed
	Problems      []Problem `json:"problems"`
}

// Export writes a timestamp, and all that it builds on, below dir in gpbackup's
// own layout, so that gprestore --backup-dir restores it without the plugin. Every
// file is verified while it is written, and appears under its name only when it is
// whole and on disk. Damage leaves a file out and is in the report; an error means
// that nothing more could be done.
func Export(ctx context.Context, r *repo.Repo, namespace, timestamp, dir string, o ExportOptions) (*ExportReport, error) {
	rep, err := export(ctx, r, namespace, timestamp, dir, o)
	if err != nil {
		return nil, fmt.Errorf("export backup %s: %w", timestamp, err)
	}
	return rep, nil
}

func export(ctx context.Context, r *repo.Repo, namespace, timestamp, dir string, o ExportOptions) (*ExportReport, error) {
	if !ValidTimestamp(timestamp) {
		return nil, fmt.Errorf("%w: %q is not a timestamp of 14 digits", repo.ErrUsage, timestamp)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c, err := newCatalog(ctx, r, namespace)
	if err != nil {
		return nil, err
	}
	e := &exporter{
		reader: newReader(c, o.Progress),
		report: ExportReport{Timestamp: timestamp, Namespace: namespace, Directory: dir, Exported: []string{}},
	}
	all, err := e.plan(ctx, c, timestamp)
	if err != nil {
		return nil, err
	}
	prefix := o.SegmentPrefix
	if prefix == "" {
		prefix = e.originPrefix(ctx, all)
	}
	if e.to, err = newLayout(dir, o.SegmentPrefix, prefix); err != nil {
		return nil, err
	}
	e.report.SegmentPrefix = e.to.prefix
	for _, s := range all {
		if err := e.to.prepare(s, o.Overwrite); err != nil {
			return nil, err
		}
	}
	if err := e.run(ctx, all); err != nil {
		return nil, err
	}
	e.report.Problems = e.sorted()
	e.report.OK = len(e.report.Problems) == 0
	return &e.report, nil
}

type exporter struct {
	reader
	to     layout
	report ExportReport
}

// plan looks at the timestamp and at all that it builds on. A backup that cannot
// be whole is refused; one that has lost something is exported without it.
func (e *exporter) plan(ctx context.Context, c *catalog, timestamp string) ([]*survey, error) {
	s, err := c.look(ctx, timestamp)
	if err != nil {
		return nil, err
	}
	switch {
	case s.status == Deleted:
		return nil, repo.WithHint(repo.ErrDeleted, "gpdedup backup undelete "+timestamp)
	case s.status == Damaged:
		return nil, fmt.Errorf("%w: %s", repo.ErrDamaged, s.reason)
	case s.config == nil || s.config.Status != "Success":
		return nil, repo.WithHint(fmt.Errorf("the backup is %s: %s", s.status, s.reason),
			"gprestore would not restore it; gpdedup backup get takes out single streams")
	}
	var all []*survey
	for _, ancestor := range s.config.Ancestors(timestamp) {
		a, err := c.look(ctx, ancestor)
		switch {
		case errors.Is(err, repo.ErrNoStream):
			e.problem(ancestor, "", BadStatus, fmt.Sprintf("%s builds on it, and it is absent", timestamp))
			continue
		case err != nil:
			return nil, err
		}
		if a.status != Complete && a.missingN == 0 {
			e.problem(ancestor, "", BadStatus, fmt.Sprintf("%s builds on it, and it is %s", timestamp, a.status))
		}
		if a.config == nil || a.status == Deleted || a.status == Damaged {
			continue
		}
		all = append(all, a)
	}
	return append(all, s), nil
}

// originPrefix returns the prefix of the data directories that the backup came
// from, or "".
func (e *exporter) originPrefix(ctx context.Context, all []*survey) string {
	own := all[len(all)-1]
	name := coordinatorFile(own.timestamp, ConfigFile)
	m, err := e.r.Stream(ctx, streamName(e.namespace, own.timestamp, name))
	if err != nil {
		return "" // and the export itself will run into it
	}
	return prefixOf(m.Origin.Path, Coordinator)
}

func (e *exporter) run(ctx context.Context, all []*survey) error {
	todo := make([][]work, len(all))
	for i, s := range all {
		for _, name := range s.missing {
			e.problem(s.timestamp, name, MissingStream, "not in the repository")
		}
		if more := s.missingN - len(s.missing); more > 0 {
			e.problem(s.timestamp, "", MissingStream, fmt.Sprintf("and %d more streams are not in the repository", more))
		}
		items := slices.DeleteFunc(slices.Clone(s.items), func(item repo.Item) bool {
			return !s.exports(ParseFile(s.timestamp, item.Name.Item))
		})
		var err error
		if todo[i], err = e.manifests(ctx, items); err != nil {
			return err
		}
	}
	for i, s := range all {
		if err := e.timestamp(ctx, s, todo[i]); err != nil {
			return err
		}
		e.report.Exported = append(e.report.Exported, s.timestamp)
	}
	return nil
}

// exports reports whether a file belongs into an export: no more than what
// gpbackup would have written without a plugin, as far as gprestore counts it.
func (s *survey) exports(f File) bool {
	switch f.Kind {
	case ConfigFile, TOCFile, MetadataFile, StatisticsFile, ReportFile:
		return true
	}
	return s.wants(f)
}

// timestamp writes the files of one backup. Its config.yaml goes last: gprestore
// reads that first, and what has none is no backup to it.
func (e *exporter) timestamp(ctx context.Context, s *survey, todo []work) error {
	config := slices.IndexFunc(todo, func(w work) bool {
		return ParseFile(s.timestamp, w.name.Item).Kind == ConfigFile
	})
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(restores)
	for i := range todo {
		if i != config {
			g.Go(func() error { return e.file(gctx, s, &todo[i]) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := e.to.emptySegments(s); err != nil {
		return err
	}
	if err := e.to.sync(s); err != nil {
		return err
	}
	if config < 0 {
		return nil // it is in the list of problems
	}
	if err := e.file(ctx, s, &todo[config]); err != nil {
		return err
	}
	return e.to.sync(s)
}

// file writes one stream to its file.
func (e *exporter) file(ctx context.Context, s *survey, w *work) error {
	f := ParseFile(s.timestamp, w.name.Item)
	out, err := create(filepath.Join(e.to.dir(f.Content, s.timestamp), w.name.Item), f.Kind)
	if err != nil {
		return err
	}
	defer out.discard()
	var ok bool
	if f.Kind == ConfigFile {
		ok, err = e.config(ctx, w, out)
	} else {
		ok, err = e.restore(ctx, w, out, repo.RestoreOptions{Compress: true})
	}
	if err != nil || !ok {
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.report.Files++
	e.report.Bytes += w.length
	return nil
}
