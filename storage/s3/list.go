package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/gpdedup/gpdedup/storage"
)

// List shows the objects below prefix, page by page.
func (s *Store) List(ctx context.Context, prefix string, fn func(storage.Info) error) error {
	var stop error // what fn returned
	err := s.do(ctx, "list", prefix, func() error {
		return s.each(ctx, prefix, true, func(o minio.ObjectInfo) error {
			key, ok := s.key(o.Key, prefix)
			if !ok || strings.HasSuffix(key, "/") {
				// Not ours: folders that a console made have such names.
				return nil
			}
			stop = fn(storage.Info{Key: key, Size: o.Size, ModTime: modTime(o.LastModified)})
			return stop
		})
	})
	if stop != nil {
		return stop
	}
	return err
}

// Children lists the next component of the keys below prefix.
func (s *Store) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	var children []storage.Child
	err := s.do(ctx, "list", prefix, func() error {
		return s.each(ctx, prefix, false, func(o minio.ObjectInfo) error {
			key, ok := s.key(o.Key, prefix)
			if !ok || key == prefix {
				return nil
			}
			name, _, dir := strings.Cut(key[len(prefix):], "/")
			children = append(children, storage.Child{Name: name, Dir: dir})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(children, func(a, b storage.Child) int { return strings.Compare(a.Name, b.Name) })
	return slices.Compact(children), nil
}

// key is the storage's key of an object in a listing of prefix.
func (s *Store) key(object, prefix string) (string, bool) {
	key, ok := strings.CutPrefix(object, s.prefix)
	return key, ok && strings.HasPrefix(key, prefix)
}

// each calls fn for what a listing shows.
func (s *Store) each(ctx context.Context, prefix string, all bool, fn func(minio.ObjectInfo) error) error {
	owner := false
	o := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: all, FetchOwner: &owner}
	last := ""
	for object := range s.client.ListObjectsIter(ctx, s.bucket, o) {
		if object.Err != nil {
			return object.Err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// Keys of objects come in order. A server that goes back would show objects
		// twice, and perhaps for ever.
		if all {
			if object.Key <= last && last != "" {
				return fmt.Errorf("%w: %q comes after %q", errDisorder, object.Key, last)
			}
			last = object.Key
		}
		if err := fn(object); err != nil {
			return err
		}
	}
	// The iterator says nothing of a context that ended.
	return ctx.Err()
}

var errDisorder = errors.New("the listing is out of order")

// Delete removes the object. S3 does not say whether there was one.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.do(ctx, "delete", key, func() error {
		err := s.client.RemoveObject(ctx, s.bucket, s.object(key), minio.RemoveObjectOptions{})
		if isAbsent(err) {
			return nil
		}
		return err
	})
}
