package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/repo"
)

// Affected is what damage to some streams of a backup means.
type Affected struct {
	Namespace string   `json:"namespace"`
	Timestamp string   `json:"timestamp"`
	Tables    []string `json:"tables"`  // whose data is concerned, by name
	Streams   []string `json:"streams"` // those that are not data of single tables, as gpbackup names them
	Reason    string   `json:"reason,omitempty"`
}

// Affects says which tables the damaged streams belong to, as far as the tables of
// contents can be read. Streams that are no files of a backup are left out.
func Affects(ctx context.Context, r *repo.Repo, damaged []repo.Name) ([]Affected, error) {
	groups := make(map[[2]string][]string)
	for _, name := range damaged {
		if name.Class == repo.Backup {
			key := [2]string{name.Namespace, name.Group}
			groups[key] = append(groups[key], name.Item)
		}
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	out := make([]Affected, len(keys))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, key := range keys {
		g.Go(func() (err error) {
			out[i], err = affects(ctx, r, key[0], key[1], groups[key])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("look for what is concerned: %w", err)
	}
	return out, nil
}

func affects(ctx context.Context, r *repo.Repo, namespace, timestamp string, items []string) (Affected, error) {
	a := Affected{Namespace: namespace, Timestamp: timestamp, Tables: []string{}, Streams: []string{}}
	tables := make(map[uint32]string)
	single := slices.ContainsFunc(items, func(item string) bool { return ParseFile(timestamp, item).Kind == TableData })
	if single {
		toc := coordinatorFile(timestamp, TOCFile)
		err := readStream(ctx, r, streamName(namespace, timestamp, toc), true, func(in io.Reader) error {
			return ReadTOC(in, func(e TableEntry) error {
				tables[e.OID] = e.Schema + "." + e.Name
				return nil
			})
		})
		switch {
		case err == nil:
		case isDamage(err), errors.Is(err, repo.ErrNoStream):
			a.Reason = fmt.Sprintf("%s: %v: names of tables are not known", toc, err)
		default:
			return a, err
		}
	}
	for _, item := range items {
		f := ParseFile(timestamp, item)
		switch name, known := tables[f.OID]; {
		case f.Kind == TableData && known:
			a.Tables = append(a.Tables, name)
		case f.Kind == TableData:
			a.Tables = append(a.Tables, fmt.Sprintf("oid %d", f.OID))
		default:
			a.Streams = append(a.Streams, item)
		}
	}
	slices.Sort(a.Tables)
	a.Tables = slices.Compact(a.Tables)
	slices.Sort(a.Streams)
	a.Streams = slices.Compact(a.Streams)
	return a, nil
}
