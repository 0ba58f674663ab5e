package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/storage"
)

// ObjectStats counts the objects of one kind.
type ObjectStats struct {
	Kind  string `json:"kind"`
	Count int64  `json:"count"`
	Bytes int64  `json:"bytes"`
}

// RootStats says what one timestamp, stream version or base backup holds and
// what it added to the repository, in bytes.
type RootStats struct {
	Class     Class     `json:"class"`
	Namespace string    `json:"namespace"`
	Group     string    `json:"group"`
	Item      string    `json:"item,omitempty"` // only of classes whose roots are single streams
	Deleted   bool      `json:"deleted,omitempty"`
	Time      time.Time `json:"time"` // of the newest stream, by the storage's clock
	Streams   int       `json:"streams"`
	Logical   uint64    `json:"logical_bytes"` // what a restore gives
	New       uint64    `json:"new_bytes"`     // of it, what the repository did not have
	Delta     uint64    `json:"delta_bytes"`   // of the new, what was stored as deltas against similar chunks
	Stored    uint64    `json:"stored_bytes"`  // what was put for it: packs, fragments, manifests

	NewChunks   uint64 `json:"new_chunks"`   // that the repository did not have
	DeltaChunks uint64 `json:"delta_chunks"` // of the new, stored as deltas

	Damaged int `json:"damaged_manifests"` // that could not be read, and are not counted
}

// StatsReport is what Stats returns.
type StatsReport struct {
	Objects []ObjectStats `json:"objects"`
	Roots   []RootStats   `json:"roots"` // sorted by class, namespace and name
	Streams int           `json:"streams"`
	Logical uint64        `json:"logical_bytes"`
	New     uint64        `json:"new_bytes"`
	Stored  int64         `json:"stored_bytes"` // of all objects that there are

	Delta       uint64 `json:"delta_bytes"`        // of the new, what was stored as deltas
	DeltaStored uint64 `json:"delta_stored_bytes"` // what those deltas take
	BaseRead    uint64 `json:"base_bytes_read"`    // to make them
}

// StatsOptions say how to count.
type StatsOptions struct {
	// Namespace is the one whose roots are counted; all if it is empty. Objects are those of all.
	Namespace string
	// Progress is told how many manifests of how many were read.
	Progress func(done, total int64)
}

// readsInFlight bounds concurrent reads of small objects.
const readsInFlight = 8

// Stats counts everything in the repository. It reads every manifest.
func (r *Repo) Stats(ctx context.Context, o StatsOptions) (*StatsReport, error) {
	report := &StatsReport{}
	objects := make(map[string]*ObjectStats)
	err := r.st.List(ctx, "", func(info storage.Info) error {
		kind := objectKind(info.Key)
		s := objects[kind]
		if s == nil {
			s = &ObjectStats{Kind: kind}
			objects[kind] = s
		}
		s.Count++
		s.Bytes += info.Size
		report.Stored += info.Size
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list repository: %w", err)
	}
	for _, s := range objects {
		report.Objects = append(report.Objects, *s)
	}
	slices.SortFunc(report.Objects, func(a, b ObjectStats) int { return strings.Compare(a.Kind, b.Kind) })

	items, err := r.AllItems(ctx)
	if err != nil {
		return nil, err
	}
	gc, err := r.lookGC(ctx)
	if err != nil {
		return nil, err
	}
	roots := make(map[string]*RootStats)
	var mu sync.Mutex
	var done int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsInFlight)
	for _, item := range items {
		if !item.Complete() || o.Namespace != "" && item.Name.Namespace != o.Namespace {
			continue
		}
		g.Go(func() error {
			m, err := r.readManifest(ctx, item.Name.Key())
			if errors.Is(err, storage.ErrNotExist) {
				return nil // pruned meanwhile
			}
			if err != nil && !isUnusable(err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			root := item.Name.root()
			s := roots[root]
			if s == nil {
				s = &RootStats{
					Class: item.Name.Class, Namespace: item.Name.Namespace, Group: item.Name.Group,
					Deleted: gc.tombstones[root],
				}
				if item.Name.Class != Backup {
					s.Item = item.Name.Item
				}
				roots[root] = s
			}
			done++
			if o.Progress != nil {
				o.Progress(done, int64(len(items)))
			}
			if item.Stored.After(s.Time) {
				s.Time = item.Stored
			}
			if err != nil {
				s.Damaged++
				return nil
			}
			s.Streams++
			s.Logical += m.Length
			s.New += m.Stats.NewRaw
			s.Delta += m.Stats.DeltaRaw
			s.NewChunks += m.Stats.NewChunks
			s.DeltaChunks += m.Stats.DeltaChunks
			report.DeltaStored += m.Stats.DeltaStored
			report.BaseRead += m.Stats.BaseRead
			s.Stored += m.Stats.NewStored + uint64(item.Bytes)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	for _, s := range roots {
		report.Roots = append(report.Roots, *s)
		report.Streams += s.Streams
		report.Logical += s.Logical
		report.New += s.New
		report.Delta += s.Delta
	}
	slices.SortFunc(report.Roots, func(a, b RootStats) int {
		if c := strings.Compare(string(a.Class)+"/"+a.Namespace, string(b.Class)+"/"+b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Group+"/"+a.Item, b.Group+"/"+b.Item)
	})
	return report, nil
}

// objectKind names the kind of an object by its key.
func objectKind(key string) string {
	for prefix, kind := range map[string]string{
		packPrefix: "pack", indexPrefix: "index fragment", slotPrefix: "key slot", "features/": "feature",
		tombstonePrefix: "tombstone", condemnedPrefix: "condemned list", lostPrefix: "list of lost chunks",
		"wal/": "WAL object", checkedPrefix: "list of checked packs", markPrefix: "mark", probePrefix: "probe",
	} {
		if strings.HasPrefix(key, prefix) {
			return kind
		}
	}
	if key == configKey {
		return "config"
	}
	if _, checkpoint, err := parseKey(key); err == nil {
		if checkpoint {
			return "checkpoint"
		}
		return "manifest"
	}
	return "foreign"
}
