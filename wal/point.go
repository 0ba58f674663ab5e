package wal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// RestorePoint is a name under which a Greenplum cluster, all of its segments, can be
// recovered to one moment. It is recorded when the WAL that it needs is archived.
type RestorePoint struct {
	Name   string    `json:"name"`
	Time   time.Time `json:"time"` // when it was recorded
	Host   string    `json:"host,omitempty"`
	Points []Point   `json:"points"`
}

// Point is where a content's WAL has the restore point.
type Point struct {
	Content string `json:"content"`
	LSN     string `json:"lsn"`
	System  string `json:"system_identifier"`
	File    string `json:"file"` // segment that holds it
}

// ParsePoints reads what `SELECT segment_id, restore_lsn FROM gp_create_restore_point(…)`
// gives with psql -At: lines of content id, a separator ("|", a tab or a comma), address.
func ParsePoints(in io.Reader) ([]Point, error) {
	var points []Point
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("|\t, ", r) })
		if len(fields) != 2 || !contentID().MatchString(fields[0]) {
			return nil, fmt.Errorf("%w: %.80q is not a content id and an address, as in -1|0/2000078", repo.ErrUsage, line)
		}
		at, err := ParseLSN(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", repo.ErrUsage, err)
		}
		if slices.ContainsFunc(points, func(p Point) bool { return p.Content == fields[0] }) {
			return nil, fmt.Errorf("%w: content %s is given twice", repo.ErrUsage, fields[0])
		}
		points = append(points, Point{Content: fields[0], LSN: at.String()})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read restore points: %w", err)
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("%w: no content id and address came in", repo.ErrUsage)
	}
	return points, nil
}

// Locate fills in which segment of the archive holds the point: that of the newest
// timeline which has it. ErrAbsent, wrapped, says that it is not archived yet.
func (a *Archive) Locate(ctx context.Context, p *Point) error {
	at, err := ParseLSN(p.LSN)
	if err != nil {
		return err
	}
	epochs, err := a.Epochs(ctx)
	if err != nil {
		return err
	}
	var found []Name
	for _, epoch := range epochs {
		e := &EpochSurvey{epoch: epoch}
		var names []Name
		err := a.List(ctx, epoch, func(f Entry) error { names = append(names, f.Name); return nil }, nil)
		if err == nil {
			err = a.segmentSize(ctx, e, names)
		}
		if err != nil {
			return err
		}
		if e.SegmentSize == 0 {
			continue
		}
		want := SegmentAt(1, at, e.SegmentSize)
		for _, n := range names {
			if n.Kind == Segment && n.Position() == want.Position() {
				found = append(found, n)
				p.System = epoch.Decimal()
			}
		}
	}
	if len(epochs) > 1 && len(found) > 0 {
		return fmt.Errorf("%w: content %s has the WAL of several clusters, and nothing says which is meant", repo.ErrUsage, a.Content)
	}
	if len(found) == 0 {
		return fmt.Errorf("content %s: the segment that holds %s is %w", a.Content, p.LSN, ErrAbsent)
	}
	p.File = slices.MaxFunc(found, func(x, y Name) int { return int(x.Timeline) - int(y.Timeline) }).String()
	return nil
}

const pointFolder = "restorepoints" // no content id

func pointsPrefix(namespace string) (string, error) {
	ns, err := repo.EscapeName("namespace", namespace)
	return walPrefix + ns + "/" + pointFolder + "/", err
}

// PutRestorePoint records a restore point. A name is used once: ErrConflict.
func PutRestorePoint(ctx context.Context, r *repo.Repo, namespace string, p RestorePoint) error {
	prefix, err := pointsPrefix(namespace)
	if err != nil {
		return err
	}
	name, err := repo.EscapeName("restore point", p.Name)
	if err != nil {
		return err
	}
	p.Host, _ = os.Hostname() // only for people to read
	payload, err := json.Marshal(p)
	if err != nil {
		return err
	}
	object, err := r.Keys().SealDocument(seal.Point, prefix+name, payload, nil)
	if err != nil {
		return err
	}
	err = r.Storage().Put(ctx, prefix+name, object)
	if errors.Is(err, storage.ErrExists) {
		return repo.WithHint(fmt.Errorf("restore point %s: %w: the name is taken", p.Name, repo.ErrConflict), "gpdedup wal list shows it; choose another name")
	}
	return err
}

// RestorePoints returns the restore points of a namespace, by time.
func RestorePoints(ctx context.Context, r *repo.Repo, namespace string) ([]RestorePoint, error) {
	prefix, err := pointsPrefix(namespace)
	if err != nil {
		return nil, err
	}
	dec, err := compress.NewDecoder(1)
	if err != nil {
		return nil, err
	}
	names, err := r.Storage().Children(ctx, prefix)
	if err != nil {
		return nil, err
	}
	points := []RestorePoint{}
	for _, n := range names {
		key := prefix + n.Name
		object, err := r.Storage().Get(ctx, key, maxMark*16)
		var payload []byte
		if err == nil {
			payload, err = r.Keys().OpenDocument(seal.Point, key, object, dec)
		}
		var p RestorePoint
		if err == nil {
			if err = json.Unmarshal(payload, &p); err != nil {
				err = fmt.Errorf("%w: %w", repo.ErrDamaged, err)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		points = append(points, p)
	}
	slices.SortStableFunc(points, func(x, y RestorePoint) int { return x.Time.Compare(y.Time) })
	return points, nil
}
