package storage

import (
	"context"
	"sync/atomic"
)

// Use is what one kind of operation has done so far.
type Use struct {
	Requests uint64 // calls that have ended, failed ones included
	Errors   uint64 // calls that returned an error
	Bytes    uint64 // object bytes moved by the calls that succeeded
}

// Usage is what a Meter has counted. The fields are read one after another, so
// beside running operations they need not agree to the last request.
type Usage struct {
	Put, Read, Get, Stat, List, Children, Delete Use
}

// Meter counts what passes through it to the storage it wraps. Under a retrying
// wrapper it counts every try, above one it counts what callers asked for.
type Meter struct {
	Storage
	put, read, get, stat, list, children, delete counter
}

// NewMeter wraps st. Closing the Meter closes st.
func NewMeter(st Storage) *Meter { return &Meter{Storage: st} }

// Unwrap returns the storage below.
func (m *Meter) Unwrap() Storage { return m.Storage }

// Usage returns the counts so far.
func (m *Meter) Usage() Usage {
	return Usage{
		Put: m.put.use(), Read: m.read.use(), Get: m.get.use(), Stat: m.stat.use(),
		List: m.list.use(), Children: m.children.use(), Delete: m.delete.use(),
	}
}

type counter struct{ requests, errors, bytes atomic.Uint64 }

func (c *counter) count(bytes int, err error) {
	c.requests.Add(1)
	if err != nil {
		c.errors.Add(1)
		return
	}
	c.bytes.Add(uint64(bytes))
}

func (c *counter) use() Use {
	return Use{Requests: c.requests.Load(), Errors: c.errors.Load(), Bytes: c.bytes.Load()}
}

func (m *Meter) Put(ctx context.Context, key string, data []byte) error {
	err := m.Storage.Put(ctx, key, data)
	m.put.count(len(data), err)
	return err
}

func (m *Meter) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	err := m.Storage.Read(ctx, key, offset, dst)
	m.read.count(len(dst), err)
	return err
}

func (m *Meter) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	data, err := m.Storage.Get(ctx, key, limit)
	m.get.count(len(data), err)
	return data, err
}

func (m *Meter) Stat(ctx context.Context, key string) (Info, error) {
	info, err := m.Storage.Stat(ctx, key)
	m.stat.count(0, err)
	return info, err
}

func (m *Meter) List(ctx context.Context, prefix string, fn func(Info) error) error {
	err := m.Storage.List(ctx, prefix, fn)
	m.list.count(0, err)
	return err
}

func (m *Meter) Children(ctx context.Context, prefix string) ([]Child, error) {
	children, err := m.Storage.Children(ctx, prefix)
	m.children.count(0, err)
	return children, err
}

func (m *Meter) Delete(ctx context.Context, key string) error {
	err := m.Storage.Delete(ctx, key)
	m.delete.count(0, err)
	return err
}
