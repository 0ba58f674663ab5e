package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/repo"
)

// Status is what a timestamp is good for.
type Status string

const (
	// Complete means: gpbackup reported success and every stream is stored. For an
	// incremental backup, of all that it builds on too.
	Complete Status = "complete"
	// Failed means: gpbackup reported failure.
	Failed Status = "failed"
	// Incomplete means: there is no config.yaml (yet, or because gpbackup was stopped),
	// or streams are missing.
	Incomplete Status = "incomplete"
	// BrokenChain means: complete in itself, but a backup that it builds on is not.
	BrokenChain Status = "broken_chain"
	// Damaged means: a file that says what belongs to the backup, or the manifest of a
	// stream, cannot be read.
	Damaged Status = "damaged"
	// Deleted means: deleted, but not yet removed; repo.Undelete may bring it back.
	Deleted Status = "deleted"
)

func (s Status) String() string { return strings.ReplaceAll(string(s), "_", " ") }

// maxMissing bounds how many missing streams are named.
const maxMissing = 1000

// survey is what is known of a timestamp by itself, without its ancestors.
type survey struct {
	timestamp string
	deleted   bool
	status    Status
	reason    string // why it is not complete
	config    *Config
	items     []repo.Item           // stored streams, by name
	tables    map[uint32]TableEntry // by oid: those with data in this backup
	segments  int                   // of the cluster

	unreadable string   // the file that makes the backup Damaged
	missing    []string // names of missing streams, at most maxMissing
	missingN   int
	notes      []string
	attempts   []repo.Item // with checkpoints that are left over
}

// look finds out about a timestamp. Without any stream the error is
// repo.ErrNoStream.
func look(ctx context.Context, r *repo.Repo, namespace, timestamp string, deleted bool) (*survey, error) {
	items, err := r.Items(ctx, repo.Backup, namespace, timestamp)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("backup %s: %w (namespace %s)", timestamp, repo.ErrNoStream, namespace)
	}
	s := &survey{timestamp: timestamp, deleted: deleted, tables: make(map[uint32]TableEntry)}
	for _, item := range items {
		if item.Complete() {
			s.items = append(s.items, item)
		}
		if item.Checkpoints > 0 {
			s.attempts = append(s.attempts, item)
		}
	}
	if err := s.read(ctx, r, namespace); err != nil {
		return nil, err
	}
	if deleted {
		s.status, s.reason = Deleted, ""
	}
	return s, nil
}

// read reads the files that say what belongs to the backup, and judges it.
func (s *survey) read(ctx context.Context, r *repo.Repo, namespace string) error {
	open := func(k Kind, fn func(io.Reader) error) (bool, error) {
		name := coordinatorFile(s.timestamp, k)
		err := readStream(ctx, r, streamName(namespace, s.timestamp, name), s.deleted, fn)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, repo.ErrNoStream):
			s.missing, s.missingN = append(s.missing, name), s.missingN+1
			return false, nil
		case isDamage(err):
			s.status, s.reason, s.unreadable = Damaged, fmt.Sprintf("%s: %v", name, err), name
			return false, nil
		}
		return false, err
	}
	ok, err := open(ConfigFile, func(in io.Reader) (err error) {
		s.config, err = ReadConfig(in)
		return err
	})
	if err != nil || s.status != "" {
		return err
	}
	if !ok {
		// Nothing says what there should be: the backup is running, or was stopped.
		s.status, s.reason = Incomplete, "no config.yaml: still running, or stopped before its end"
		s.missing, s.missingN = nil, 0
		return nil
	}
	if ok, err = open(TOCFile, func(in io.Reader) error {
		return ReadTOC(in, func(e TableEntry) error {
			s.tables[e.OID] = e
			return nil
		})
	}); err != nil || s.status != "" {
		return err
	}
	s.countSegments()
	s.findMissing(ok)
	s.judge()
	return nil
}

func (s *survey) judge() {
	switch {
	case s.config.Status == "Failure":
		s.status, s.reason = Failed, "gpbackup reported failure"
	case s.config.Status != "Success":
		s.status, s.reason = Incomplete, fmt.Sprintf("config.yaml says status %.40q", s.config.Status)
	case s.missingN == 1:
		s.status, s.reason = Incomplete, s.missing[0]+" is missing"
	case s.missingN > 1:
		s.status, s.reason = Incomplete, fmt.Sprintf("%d streams are missing", s.missingN)
	default:
		s.status = Complete
	}
}

// findMissing compares what is stored with what the config and the table of
// contents ask for. The toc.yaml itself is known to be there, or not.
func (s *survey) findMissing(toc bool) {
	stored := make(map[string]bool, len(s.items))
	for _, item := range s.items {
		stored[item.Name.Item] = true
	}
	miss := func(name string) {
		if s.missingN++; len(s.missing) < maxMissing {
			s.missing = append(s.missing, name)
		}
	}
	needed := []Kind{MetadataFile}
	if s.config.WithStatistics {
		needed = append(needed, StatisticsFile)
	}
	for _, k := range needed {
		if name := coordinatorFile(s.timestamp, k); !stored[name] {
			miss(name)
		}
	}
	if name := coordinatorFile(s.timestamp, ReportFile); !stored[name] {
		// gpbackup stores it after config.yaml and does not fail for it, and all
		// data is there; but gprestore fetches it through the plugin.
		s.notes = append(s.notes, name+" is missing: gprestore --plugin-config asks for it; export does without")
	}
	if !toc {
		return
	}
	found, foreign := 0, 0
	for _, item := range s.items {
		f := ParseFile(s.timestamp, item.Name.Item)
		switch {
		case s.wants(f):
			found++
		case f.Content != Coordinator:
			foreign++
		}
	}
	if foreign > 0 {
		s.notes = append(s.notes, fmt.Sprintf("data streams that toc.yaml does not ask for: %d", foreign))
	}
	// A hostile config and toc.yaml could ask for billions of streams. The loop
	// ends when enough of those that are missing were named.
	n, files := s.expected()
	left := n - found
	s.missingN += left
	for f := range files {
		if left == 0 || len(s.missing) >= maxMissing {
			return
		}
		if name := f.Name(s.timestamp); !stored[name] {
			s.missing = append(s.missing, name)
			left--
		}
	}
}

// countSegments finds how many segments the cluster had. Where an old config does
// not say, the stored streams do.
func (s *survey) countSegments() {
	if s.segments = s.config.SegmentCount; s.segments > 0 {
		return
	}
	s.segments = 1
	for _, item := range s.items {
		s.segments = max(s.segments, ParseFile(s.timestamp, item.Name.Item).Content+1)
	}
}

// hasData reports whether there should be any data streams. A backup without
// tables has none, nor has an incremental one for which nothing had changed: then
// gpbackup starts no helper and writes no table of contents on the segments
// (backupData).
func (s *survey) hasData() bool { return !s.config.MetadataOnly && len(s.tables) > 0 }

// expected returns the files that should be there of all segments, and how many.
func (s *survey) expected() (int, iter.Seq[File]) {
	if !s.hasData() {
		return 0, func(func(File) bool) {}
	}
	segments, ext := s.segments, s.config.Extension()
	if s.config.SingleDataFile {
		return 2 * segments, func(yield func(File) bool) {
			for c := range segments {
				if !yield(File{Kind: SegmentData, Content: c, Extension: ext}) || !yield(File{Kind: SegmentTOCFile, Content: c}) {
					return
				}
			}
		}
	}
	oids := slices.Sorted(maps.Keys(s.tables))
	return len(oids) * segments, func(yield func(File) bool) {
		for c := range segments {
			for _, oid := range oids {
				if !yield(File{Kind: TableData, Content: c, OID: oid, Extension: ext}) {
					return
				}
			}
		}
	}
}

// wants reports whether f is one of the expected files.
func (s *survey) wants(f File) bool {
	if s.config == nil || !s.hasData() || f.Content < 0 || f.Content >= s.segments {
		return false
	}
	switch f.Kind {
	case TableData:
		_, ok := s.tables[f.OID]
		return ok && !s.config.SingleDataFile && f.Extension == s.config.Extension()
	case SegmentData:
		return s.config.SingleDataFile && f.Extension == s.config.Extension()
	case SegmentTOCFile:
		return s.config.SingleDataFile
	}
	return false
}

// readStream lets fn read a stream to its end. The error is fn's, unless the
// stream itself cannot be read.
func readStream(ctx context.Context, r *repo.Repo, name repo.Name, deleted bool, fn func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := r.Restore(ctx, name, out, repo.RestoreOptions{Deleted: deleted})
		out.CloseWithError(err) // nil: the end of the stream
		done <- err
	}()
	err := fn(in)
	in.CloseWithError(errStop)
	if restoring := <-done; restoring != nil && !errors.Is(restoring, errStop) {
		return restoring
	}
	return err
}

// errStop tells a restore that its reader wants no more.
var errStop = errors.New("enough")

// isDamage reports whether what is stored is at fault, and not the way to it.
func isDamage(err error) bool { return errors.Is(err, repo.ErrDamaged) || errors.Is(err, ErrMalformed) }
