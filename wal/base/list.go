package base

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/wal"
)

// items returns the base backups that are stored and not deleted, the newest first by
// the storage's clock.
func items(ctx context.Context, r *repo.Repo, a *wal.Archive) ([]repo.Item, error) {
	all, gone, err := allItems(ctx, r, a)
	return slices.DeleteFunc(all, func(i repo.Item) bool { return gone[i.Name.String()] }), err
}

func allItems(ctx context.Context, r *repo.Repo, a *wal.Archive) ([]repo.Item, map[string]bool, error) {
	list, err := r.Items(ctx, repo.Base, a.Namespace, a.Content)
	if err != nil {
		return nil, nil, err
	}
	deleted, err := r.DeletedGroups(ctx, repo.Base, a.Namespace)
	if err != nil {
		return nil, nil, err
	}
	list = slices.DeleteFunc(list, func(i repo.Item) bool { return !i.Complete() })
	slices.SortFunc(list, func(x, y repo.Item) int { return y.Stored.Compare(x.Stored) })
	return list, deleted, nil
}

// Backup is a base backup that is stored.
type Backup struct {
	Name     repo.Name
	Stored   time.Time // by the storage's clock
	Deleted  bool
	Info     *Info // nil if Err is not
	Manifest *manifest.Manifest
	Err      error // why it cannot be read
}

// List returns the base backups, the newest first. One that cannot be read has an Err.
func List(ctx context.Context, r *repo.Repo, a *wal.Archive, deleted bool) ([]Backup, error) {
	all, gone, err := allItems(ctx, r, a)
	if err != nil {
		return nil, err
	}
	var list []Backup
	for _, i := range all {
		if dead := gone[i.Name.String()]; !dead || deleted {
			list = append(list, Backup{Name: i.Name, Stored: i.Stored, Deleted: dead})
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range list {
		b := &list[i]
		if b.Deleted {
			continue
		}
		g.Go(func() error {
			b.Manifest, b.Info, b.Err = open(gctx, r, b.Name)
			if b.Err != nil && !isObjectError(b.Err) {
				return b.Err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// Gone between the listing and the look.
	return slices.DeleteFunc(list, func(b Backup) bool {
		return errors.Is(b.Err, repo.ErrDeleted) || errors.Is(b.Err, repo.ErrNoStream)
	}), nil
}

// isObjectError reports whether err is about one backup, not about the way to it.
func isObjectError(err error) bool {
	for _, target := range []error{repo.ErrDamaged, repo.ErrNewer, repo.ErrDeleted, repo.ErrNoStream} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// Open returns what is known of the base backup of that label.
func Open(ctx context.Context, r *repo.Repo, a *wal.Archive, label string) (*Backup, error) {
	name := Name(a, label)
	b := &Backup{Name: name}
	var err error
	b.Manifest, b.Info, err = open(ctx, r, name)
	if errors.Is(err, repo.ErrNoStream) {
		err = repo.WithHint(err, "gpdedup base list")
	}
	return b, err
}

func open(ctx context.Context, r *repo.Repo, name repo.Name) (*manifest.Manifest, *Info, error) {
	m, err := r.Stream(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	info, err := readInfo(ctx, r, m)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, info, nil
}

// readInfo reads the last member of the stream: from its end, as far as that takes.
func readInfo(ctx context.Context, r *repo.Repo, m *manifest.Manifest) (*Info, error) {
	for window := uint64(16 << 10); ; window *= 16 {
		from := m.Length - min(window, m.Length)
		from -= from % blockSize
		tail, err := read(ctx, r, m, from, m.Length)
		if err != nil {
			return nil, err
		}
		for at := len(tail) - endBlocks; at >= 0; at -= blockSize {
			if at+blockSize > len(tail) || !strings.HasPrefix(string(tail[at:at+blockSize]), infoName+"\x00") {
				continue
			}
			h, err := parseHeader((*block)(tail[at : at+blockSize]))
			if err != nil || h.size > int64(len(tail)-at-blockSize) {
				continue // it only looks like it
			}
			return parseInfo(tail[at+blockSize:][:h.size])
		}
		if from == 0 || window > maxWord<<8 {
			return nil, fmt.Errorf("%w: it does not end with %s", repo.ErrDamaged, infoName)
		}
	}
}

func read(ctx context.Context, r *repo.Repo, m *manifest.Manifest, from, to uint64) ([]byte, error) {
	var out bytes.Buffer
	err := r.RestoreManifest(ctx, m, &out, repo.RestoreOptions{Ranges: []repo.Range{{Start: from, End: to}}})
	return out.Bytes(), err
}

// readServerManifest reads backup_manifest.
func readServerManifest(ctx context.Context, r *repo.Repo, m *manifest.Manifest, info *Info) (*serverManifest, error) {
	end := uint64(info.Manifest.Offset) + uint64(info.Manifest.Length)
	if end > m.Length {
		return nil, fmt.Errorf("%w: backup_manifest lies behind the end", repo.ErrDamaged)
	}
	data, err := read(ctx, r, m, uint64(info.Manifest.Offset), end)
	if err != nil {
		return nil, err
	}
	return parseManifest(data)
}

// Newest returns the newest base backup that is not deleted.
func Newest(ctx context.Context, r *repo.Repo, a *wal.Archive) (*Backup, error) {
	list, err := items(ctx, r, a)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, noBackup(a)
	}
	b, err := Open(ctx, r, a, list[0].Name.Item)
	b.Stored = list[0].Stored
	return b, err
}

// noBackup says that there is none.
func noBackup(a *wal.Archive) error {
	return repo.WithHint(fmt.Errorf("no base backup: %w (namespace %s, content %s)", repo.ErrNoStream, a.Namespace, a.Content),
		"'gpdedup base push' takes one; --cluster names another cluster")
}

// Row is what a listing says of a backup, in JSON as `base list` prints it.
type Row struct {
	Namespace  string    `json:"namespace"`
	Content    string    `json:"content"`
	Label      string    `json:"label"`
	Stored     time.Time `json:"stored"` // by the storage's clock
	Deleted    bool      `json:"deleted"`
	Problem    string    `json:"problem,omitempty"` // why it cannot be read, or not be restored
	Host       string    `json:"host,omitempty"`
	NewBytes   uint64    `json:"new_bytes,omitempty"`
	StoredSize uint64    `json:"stored_bytes,omitempty"`
	Consistent bool      `json:"consistent"` // all WAL is there that makes it consistent
	// Unfinished is there where no backup is, only the mark of a push that goes on or was
	// killed.
	Unfinished *Unfinished `json:"unfinished,omitempty"`
	Backup     *Info       `json:"backup,omitempty"`
	Reach      []To        `json:"reach"` // on each timeline that it leads to the end of
}

// To is how far a backup can be recovered along a timeline.
type To struct {
	Timeline uint32     `json:"timeline"`
	Until    string     `json:"until"`                // the last segment
	Time     *time.Time `json:"until_time,omitempty"` // when that was archived
	Gap      string     `json:"gap,omitempty"`        // the first segment that is missing, if later ones are there
}

// Rows describes backups.
func Rows(ctx context.Context, a *wal.Archive, list []Backup) ([]Row, error) {
	survey, err := a.Survey(ctx)
	if err != nil {
		return nil, err
	}
	return RowsOf(ctx, a, survey, list)
}

// RowsOf is Rows for whoever has the archive's survey already.
func RowsOf(ctx context.Context, a *wal.Archive, survey *wal.Survey, list []Backup) ([]Row, error) {
	rows := make([]Row, 0, len(list))
	for i := range list {
		row, err := describe(ctx, a, survey, &list[i])
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func describe(ctx context.Context, a *wal.Archive, survey *wal.Survey, b *Backup) (Row, error) {
	row := Row{
		Namespace: b.Name.Namespace, Content: b.Name.Group, Label: b.Name.Item, Stored: b.Stored.UTC(), Deleted: b.Deleted,
		Backup: b.Info, Reach: []To{},
	}
	if b.Err != nil {
		row.Problem = b.Err.Error()
	}
	if b.Info == nil {
		return row, nil
	}
	row.Host, row.NewBytes, row.StoredSize = b.Manifest.Origin.Host, b.Manifest.Stats.NewRaw, b.Manifest.Stats.NewStored
	epoch, err := b.Info.Epoch()
	if err != nil {
		return row, err
	}
	segments, err := b.Info.Segments()
	if err != nil {
		return row, err
	}
	_, stop, err := b.Info.Points()
	if err != nil {
		return row, err
	}
	e := survey.Epoch(epoch)
	if e == nil {
		if row.Consistent = b.Info.WALIncluded; !row.Consistent {
			row.Problem = "its WAL is not in the archive"
		}
		return row, nil
	}
	var gap *GapError
	switch err := consistent(b, e, segments); {
	case errors.As(err, &gap):
		row.Problem = gap.Error()
		return row, nil
	case err != nil:
		return row, err
	}
	row.Consistent = true
	for i := range e.Timelines {
		to := e.Timelines[i].Timeline
		if !e.Leads(b.Info.Timeline, stop, to) {
			continue
		}
		reach := e.Follow(segments[0], to)
		if reach.Last == (wal.Name{}) {
			continue
		}
		t := To{Timeline: to, Until: reach.Last.String()}
		if reach.Gap {
			t.Gap = reach.MissingFirst.String()
		}
		at, err := a.PushedAt(ctx, epoch, reach.Last)
		switch {
		case err == nil:
			at = at.UTC()
			t.Time = &at
		case !errors.Is(err, wal.ErrAbsent) && !isObjectError(err):
			return row, err
		}
		row.Reach = append(row.Reach, t)
	}
	return row, nil
}
