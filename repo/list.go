package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/storage"
)

// Item is one stored stream.
type Item struct {
	Name        Name
	Stored      time.Time // by the storage's clock
	Bytes       int64     // of the manifest object
	Checkpoints int       // of attempts to store it; Stored is zero if none succeeded
}

// Complete reports whether the stream itself is stored, not only checkpoints.
func (i Item) Complete() bool { return !i.Stored.IsZero() }

// Namespaces returns the namespaces that hold streams of the class, sorted.
func (r *Repo) Namespaces(ctx context.Context, class Class) ([]string, error) {
	return r.names(ctx, manifestPrefix+string(class)+"/")
}

// Groups returns, sorted, the timestamps, stream names or content ids of a
// namespace, deleted ones included.
func (r *Repo) Groups(ctx context.Context, class Class, namespace string) ([]string, error) {
	return r.names(ctx, manifestPrefix+string(class)+"/"+escape(namespace)+"/")
}

func (r *Repo) names(ctx context.Context, prefix string) ([]string, error) {
	children, err := r.st.Children(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	var out []string
	for _, c := range children {
		if name, err := unescape(c.Name); err == nil && c.Dir {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// DeletedGroups returns which roots of a class and namespace have a tombstone: the
// keys are timestamps for Backup, "name@version" for Named, "content/label" for
// Base.
func (r *Repo) DeletedGroups(ctx context.Context, class Class, namespace string) (map[string]bool, error) {
	prefix := tombstonePrefix + string(class) + "/" + escape(namespace) + "/"
	deleted := make(map[string]bool)
	err := r.st.List(ctx, prefix, func(info storage.Info) error {
		parts := strings.Split(info.Key[len(prefix):], "/")
		for i := range parts {
			var err error
			if parts[i], err = unescape(parts[i]); err != nil {
				return nil //nolint:nilerr // a foreign object deletes nothing
			}
		}
		switch {
		case class == Backup && len(parts) == 1:
			deleted[parts[0]] = true
		case class != Backup && len(parts) == 2:
			deleted[Name{Class: class, Group: parts[0], Item: parts[1]}.String()] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	return deleted, nil
}

// Items returns the streams of a group, sorted by name.
func (r *Repo) Items(ctx context.Context, class Class, namespace, group string) ([]Item, error) {
	return r.items(ctx, Name{Class: class, Namespace: namespace, Group: group}.groupKey())
}

// AllItems returns every stream of every class, sorted by key.
func (r *Repo) AllItems(ctx context.Context) ([]Item, error) {
	return r.items(ctx, manifestPrefix)
}

func (r *Repo) items(ctx context.Context, prefix string) ([]Item, error) {
	found := make(map[Name]*Item)
	err := r.st.List(ctx, prefix, func(info storage.Info) error {
		name, checkpoint, err := parseKey(info.Key)
		if err != nil {
			r.log.Warn("foreign object", "key", info.Key)
			return nil //nolint:nilerr // it is none of ours
		}
		item := found[name]
		if item == nil {
			item = &Item{Name: name}
			found[name] = item
		}
		if checkpoint {
			item.Checkpoints++
		} else {
			item.Stored, item.Bytes = info.ModTime, info.Size
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	out := make([]Item, 0, len(found))
	keys := make(map[Name]string, len(found)) // to make them takes longer than to compare them
	for name, item := range found {
		out = append(out, *item)
		keys[name] = name.Key()
	}
	slices.SortFunc(out, func(a, b Item) int { return strings.Compare(keys[a.Name], keys[b.Name]) })
	return out, nil
}
