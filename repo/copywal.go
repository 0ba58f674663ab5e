package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/storage"
)

const walPrefix = "wal/"

// walKey is the form of the key of a WAL object: namespace, content, epoch, folder, file.
var walKey = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^wal/[^/]+/[^/]+/[0-9a-f]{16}/[0-9A-F]{8}(?:[0-9A-F]{8})?/[^/]+$`)
})

// pointKey is the form of the key of a restore point, a document: namespace, name.
var pointKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^wal/[^/]+/restorepoints/[^/]+$`) })

// copyWAL copies the WAL archives, object by object: each is complete in itself. The marks
// of standbys are not copied, for no standby reads from the target.
func (c *transfer) copyWAL(ctx context.Context) error {
	held := make(map[string]bool)
	epochs := make(map[string]map[string]bool) // of the target, by namespace and content
	err := c.listWAL(ctx, c.to, func(info storage.Info) {
		held[info.Key] = true
		if walKey().MatchString(info.Key) {
			archive, epoch := splitWAL(info.Key)
			if epochs[archive] == nil {
				epochs[archive] = make(map[string]bool)
			}
			epochs[archive][epoch] = true
		}
	})
	if err != nil {
		return err
	}
	var files, points []storage.Info
	ours := make(map[string]bool) // the source's, by namespace, content and epoch
	err = c.listWAL(ctx, c.from, func(info storage.Info) {
		switch {
		case pointKey().MatchString(info.Key):
			points = append(points, info)
		case walKey().MatchString(info.Key):
			files = append(files, info)
			archive, epoch := splitWAL(info.Key)
			ours[archive+"/"+epoch] = true
		}
	})
	if err != nil {
		return err
	}
	files = c.withoutForeign(files, epochs, ours)
	// Restore points come last: they say that the WAL they name is archived.
	for _, objects := range [2][]storage.Info{files, points} {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(copyStreams)
		for _, info := range objects {
			if ctx.Err() != nil {
				break
			}
			g.Go(func() error { return c.keepBackWAL(ctx, info.Key, c.copyWALObject(ctx, info, held[info.Key])) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (c *transfer) listWAL(ctx context.Context, r *Repo, fn func(storage.Info)) error {
	prefixes := []string{walPrefix}
	if len(c.o.Namespaces) > 0 {
		prefixes = nil
		for _, ns := range c.o.Namespaces {
			prefixes = append(prefixes, walPrefix+escape(ns)+"/")
		}
	}
	for _, prefix := range prefixes {
		err := r.st.List(ctx, prefix, func(info storage.Info) error {
			fn(info)
			return nil
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
	}
	return nil
}

// splitWAL splits a WAL object's key: the archive (wal/<namespace>/<content>) and the epoch.
func splitWAL(key string) (archive, epoch string) {
	parts := strings.Split(key, "/")
	return strings.Join(parts[:3], "/"), parts[3]
}

// withoutForeign leaves out the WAL of a cluster that the target does not know where it
// keeps the WAL of one that the source does not know: two clusters share a namespace.
func (c *transfer) withoutForeign(files []storage.Info, held map[string]map[string]bool, ours map[string]bool) []storage.Info {
	refused := make(map[string]bool)
	var kept []storage.Info
	for _, info := range files {
		archive, epoch := splitWAL(info.Key)
		foreign := ""
		if !held[archive][epoch] {
			for other := range held[archive] {
				if !ours[archive+"/"+other] {
					foreign = other
				}
			}
		}
		if foreign == "" {
			kept = append(kept, info)
			continue
		}
		if where := archive + "/" + epoch; !refused[where] {
			refused[where] = true
			c.problem(where, fmt.Errorf("%w: %s has the WAL of another cluster there, %s", ErrConflict, c.to.st.Location(), foreign))
		}
	}
	return kept
}

// keepBackWAL is keepBack for what has no stream's name.
func (c *transfer) keepBackWAL(ctx context.Context, key string, err error) error {
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case isNotExist(err):
		return nil // cleaned up meanwhile
	case errors.Is(err, ErrConflict) || isUnusable(err):
		c.problem(key, err)
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
}

// maxWALObject bounds a WAL object in bytes: a segment of 1 GiB that does not shrink.
const maxWALObject = 1<<30 + 1<<20

// copyWALObject copies one object, or finds that it is there.
func (c *transfer) copyWALObject(ctx context.Context, info storage.Info, there bool) error {
	point := pointKey().MatchString(info.Key)
	weight := min(max(info.Size, 1), copyContent)
	if err := c.window.Acquire(ctx, weight); err != nil {
		return err
	}
	defer c.window.Release(weight)
	if there {
		return c.compareWAL(ctx, info.Key, point)
	}
	if c.o.DryRun {
		c.copiedWAL(info.Size)
		return nil
	}
	object, err := c.from.get(ctx, info.Key, maxWALObject)
	if err != nil {
		return err
	}
	reseal := resealWAL
	if point {
		reseal = resealDocument
	}
	out, err := reseal(c.from, c.to, info.Key, object)
	if err != nil {
		return fmt.Errorf("read from %s: %w", c.from.st.Location(), err)
	}
	err = c.to.st.Put(ctx, info.Key, out)
	if errors.Is(err, storage.ErrExists) {
		return c.compareWAL(ctx, info.Key, point) // somebody else was faster
	}
	if err == nil {
		c.copiedWAL(int64(len(out)))
	}
	return err
}

func (c *transfer) copiedWAL(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.WALFiles++
	c.report.WALBytes += uint64(n)
}

// compareWAL reports whether both repositories have the same under the key.
func (c *transfer) compareWAL(ctx context.Context, key string, point bool) error {
	describe := describeWAL
	if point {
		describe = describeDocument
	}
	var sides [2][]byte
	for i, r := range [2]*Repo{c.from, c.to} {
		var err error
		if sides[i], err = describe(ctx, r, key); err != nil {
			return fmt.Errorf("compare: %s: %w", r.st.Location(), err)
		}
	}
	if !bytes.Equal(sides[0], sides[1]) {
		return fmt.Errorf("%w in %s", ErrConflict, c.to.st.Location())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.WALAlready++
	return nil
}
