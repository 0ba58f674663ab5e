package wal

import (
	"context"
	"fmt"
	"time"

	"github.com/gpdedup/gpdedup/storage"
)

// Timed returns st with a limit on how long each request may take. A request that
// hangs, in a dead network file system for instance, is left to itself, and an error
// returned that may pass when tried again. Listings are not limited: they last as long
// as there is something to list.
func Timed(st storage.Storage, limit time.Duration) storage.Storage {
	return &timed{Storage: st, limit: limit}
}

type timed struct {
	storage.Storage
	limit time.Duration
}

// Unwrap returns the storage below, whose requests are not limited.
func (t *timed) Unwrap() storage.Storage { return t.Storage }

// do runs f in a goroutine of its own, because not everything that f may hang in looks
// at its context.
func (t *timed) do(ctx context.Context, op, key string, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, t.limit)
	done := make(chan error, 1)
	go func() { defer cancel(); done <- f(limited) }()
	select {
	case err := <-done:
		return err
	case <-limited.Done():
	}
	// It may have come to its end at the same moment.
	select {
	case err := <-done:
		return err
	default:
	}
	err := context.Cause(ctx)
	if err == nil {
		err = fmt.Errorf("%s does not answer: nothing for %s", t.Location(), t.limit)
	}
	return &storage.Error{Op: op, Key: key, Err: err}
}

func (t *timed) Put(ctx context.Context, key string, data []byte) error {
	return t.do(ctx, "put", key, func(ctx context.Context) error { return t.Storage.Put(ctx, key, data) })
}

func (t *timed) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	own := make([]byte, len(dst)) // what is left to itself must not write into dst later
	err := t.do(ctx, "read", key, func(ctx context.Context) error { return t.Storage.Read(ctx, key, offset, own) })
	if err == nil {
		copy(dst, own)
	}
	return err
}

func (t *timed) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	answer := make(chan []byte, 1)
	err := t.do(ctx, "get", key, func(ctx context.Context) error {
		data, err := t.Storage.Get(ctx, key, limit)
		answer <- data
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

func (t *timed) Stat(ctx context.Context, key string) (storage.Info, error) {
	answer := make(chan storage.Info, 1)
	err := t.do(ctx, "stat", key, func(ctx context.Context) error {
		info, err := t.Storage.Stat(ctx, key)
		answer <- info
		return err
	})
	if err != nil {
		return storage.Info{}, err
	}
	return <-answer, nil
}

func (t *timed) Children(ctx context.Context, prefix string) ([]storage.Child, error) {
	answer := make(chan []storage.Child, 1)
	err := t.do(ctx, "list", prefix, func(ctx context.Context) error {
		children, err := t.Storage.Children(ctx, prefix)
		answer <- children
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

func (t *timed) Delete(ctx context.Context, key string) error {
	return t.do(ctx, "delete", key, func(ctx context.Context) error { return t.Storage.Delete(ctx, key) })
}
