package main

import (
	"context"
	"errors"
	"sync"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/wal"
)

// eager is a storage that was asked for some things before anybody wanted them: what
// opening a repository reads, one after the other. A server waits for a command that
// begins with that each time, and where a request takes long, most of its time is that.
type eager struct {
	storage.Storage

	mu      sync.Mutex
	objects map[string]chan object  // each is answered once
	lists   map[string]chan listing // likewise
}

type object struct {
	data []byte
	err  error
}

type listing struct {
	children []storage.Child
	err      error
}

// askAhead asks for what repo.Open is going to read, and for the objects with the keys
// more, all at once.
func askAhead(ctx context.Context, st storage.Storage, secret repo.Secret, more ...string) *eager {
	keys, prefixes := repo.OpenReads(secret)
	e := &eager{Storage: st, objects: map[string]chan object{}, lists: map[string]chan listing{}}
	for i, key := range append(keys, more...) {
		limit := int64(1 << 20) // bytes; what is longer is none of what opening reads
		if i >= len(keys) {
			limit = wal.MaxObject
		}
		answer := make(chan object, 1)
		e.objects[key] = answer
		go func() {
			data, err := st.Get(ctx, key, limit)
			answer <- object{data, err}
		}()
	}
	for _, prefix := range prefixes {
		answer := make(chan listing, 1)
		e.lists[prefix] = answer
		go func() {
			children, err := st.Children(ctx, prefix)
			answer <- listing{children, err}
		}()
	}
	return e
}

// take returns the answer to what was asked ahead, the first time only.
func take[T any](e *eager, from map[string]chan T, key string) (answer T, asked bool) {
	e.mu.Lock()
	c, asked := from[key]
	delete(from, key)
	e.mu.Unlock()
	if asked {
		answer = <-c
	}
	return answer, asked
}

func (e *eager) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	o, asked := take(e, e.objects, key)
	switch {
	case asked && o.err == nil && (limit < 0 || int64(len(o.data)) <= limit):
		return o.data, nil
	case asked && errors.Is(o.err, storage.ErrNotExist):
		return nil, o.err // it was asked in this very call
	}
	return e.Storage.Get(ctx, key, limit) // for an error that is of now
}

func (e *eager) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	if l, asked := take(e, e.lists, prefix); asked && l.err == nil {
		return l.children, nil
	}
	return e.Storage.Children(ctx, prefix)
}
