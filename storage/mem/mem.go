// Package mem keeps a repository's objects in memory, for tests: the contract of
// package storage to the letter, and beside it the faults that real storage has.
//
// A test asks for faults with [Store.SetHook]; the hook sees every operation
// before it runs and answers with a [Fault]. A crash is a [Store.Clone] taken at
// the moment of the crash: every acknowledged operation is in it, those that are
// still blocked are not. [Store.Corrupt] damages what is stored, for good.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gpdedup/gpdedup/storage"
)

// Store is a storage in memory. The zero value is not ready; see New.
type Store struct {
	mu      sync.Mutex
	objects map[string]object
	counts  map[string]int
	hook    func(op, key string) Fault
	clock   func() time.Time
}

// object's data is never changed in place, so it may be read without the lock.
type object struct {
	data    []byte
	modTime time.Time
}

var _ storage.Storage = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{objects: map[string]object{}, counts: map[string]int{}, clock: time.Now}
}

// Clone returns a store with the same objects and clock, without hook and with
// counts at zero. Neither sees what happens to the other afterwards.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Store{objects: maps.Clone(s.objects), counts: map[string]int{}, clock: s.clock}
}

// SetClock sets where ModTime comes from; time.Now until then.
func (s *Store) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = now
}

// Keys returns all keys, sorted. It is no operation: neither hooked nor counted.
func (s *Store) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Corrupt replaces the bytes under key by what edit makes of a copy of them. It
// panics when there is no such object: then the test is wrong.
func (s *Store) Corrupt(key string, edit func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok {
		panic("mem: corrupt " + key + ": no such object")
	}
	o.data = slices.Clone(edit(bytes.Clone(o.data)))
	s.objects[key] = o
}

// Counts returns how many operations have begun, by operation: "put", "read",
// "get", "stat", "list", "children", "delete". Those with an invalid key are not
// counted. The caller owns the map.
func (s *Store) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Put stores a copy of data.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	return s.do(ctx, "put", key, func(Fault) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Under the lock, so that nothing becomes visible after the caller could
		// know that the context has ended.
		if err := ctx.Err(); err != nil {
			return err
		}
		if old, ok := s.objects[key]; ok {
			if !bytes.Equal(old.data, data) {
				return storage.ErrExists
			}
			return nil
		}
		s.objects[key] = object{data: bytes.Clone(data), modTime: s.clock()}
		return nil
	})
}

// Read fills dst.
func (s *Store) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	return s.do(ctx, "read", key, func(f Fault) error {
		o, err := s.object(key)
		if err != nil {
			return err
		}
		size := int64(len(o.data))
		if offset < 0 {
			offset += size
			if offset < 0 {
				return storage.ErrShort
			}
		}
		got := o.data[min(offset, size):]
		got = got[:min(len(got), len(dst))]
		if f.Edit != nil {
			got = f.Edit(bytes.Clone(got))
		}
		if copy(dst, got) < len(dst) {
			return storage.ErrShort
		}
		return nil
	})
}

// Get returns a copy of the object.
func (s *Store) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	var data []byte
	err := s.do(ctx, "get", key, func(f Fault) error {
		o, err := s.object(key)
		if err != nil {
			return err
		}
		if limit >= 0 && int64(len(o.data)) > limit {
			return fmt.Errorf("%w: %d bytes, expected at most %d", storage.ErrTooLong, len(o.data), limit)
		}
		data = bytes.Clone(o.data)
		if f.Edit != nil {
			data = f.Edit(data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Stat describes the object.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	var info storage.Info
	err := s.do(ctx, "stat", key, func(Fault) error {
		o, err := s.object(key)
		if err != nil {
			return err
		}
		info = storage.Info{Key: key, Size: int64(len(o.data)), ModTime: o.modTime}
		return nil
	})
	if err != nil {
		return storage.Info{}, err
	}
	return info, nil
}

// List shows the objects that existed when it began, sorted by key. The lock is
// not held while fn runs.
func (s *Store) List(ctx context.Context, prefix string, fn func(storage.Info) error) error {
	var stop error // what fn returned
	err := s.do(ctx, "list", prefix, func(Fault) error {
		for _, info := range s.below(prefix) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if stop = fn(info); stop != nil {
				return stop
			}
		}
		return nil
	})
	if stop != nil {
		return stop
	}
	return err
}

// Children lists the next component of every key below prefix.
func (s *Store) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	var children []storage.Child
	err := s.do(ctx, "children", prefix, func(Fault) error {
		for _, info := range s.below(prefix) {
			name, _, dir := strings.Cut(info.Key[len(prefix):], "/")
			children = append(children, storage.Child{Name: name, Dir: dir})
		}
		// By name, not by key: "a-b" sorts before "a/b", but after "a".
		slices.SortFunc(children, func(a, b storage.Child) int { return strings.Compare(a.Name, b.Name) })
		children = slices.Compact(children)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return children, nil
}

// Delete removes the object.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.do(ctx, "delete", key, func(Fault) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.objects, key)
		return nil
	})
}

// Location is "memory".
func (s *Store) Location() string { return "memory" }

// Close does nothing: the objects stay readable, as those of a real storage do
// for the next process.
func (s *Store) Close() error { return nil }

func (s *Store) object(key string) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok {
		return object{}, storage.ErrNotExist
	}
	return o, nil
}

// below describes the objects under prefix, sorted by key.
func (s *Store) below(prefix string) []storage.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var infos []storage.Info
	for key, o := range s.objects {
		if strings.HasPrefix(key, prefix) {
			infos = append(infos, storage.Info{Key: key, Size: int64(len(o.data)), ModTime: o.modTime})
		}
	}
	slices.SortFunc(infos, func(a, b storage.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos
}

// do checks, counts, asks the hook, and runs effect between what the fault wants
// before and after it. Errors come back as *storage.Error.
func (s *Store) do(ctx context.Context, op, key string, effect func(Fault) error) error {
	err := s.run(ctx, op, key, effect)
	if err == nil {
		return nil
	}
	if op == "children" {
		op = "list"
	}
	return &storage.Error{Op: op, Key: key, Err: err}
}

func (s *Store) run(ctx context.Context, op, key string, effect func(Fault) error) error {
	check := storage.CheckKey
	if op == "list" || op == "children" {
		check = storage.CheckPrefix
	}
	if err := check(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	s.counts[op]++
	hook := s.hook
	s.mu.Unlock()
	var f Fault
	if hook != nil {
		f = hook(op, key) // unlocked: a hook may use the store
	}
	if err := f.before(ctx); err != nil {
		return err
	}
	if err := effect(f); err != nil {
		return err
	}
	return f.After
}
