package storage

import (
	"context"
	"sync"
	"time"
)

// Limits bound what one process asks of a storage. Zero fields set no bound.
type Limits struct {
	Upload   int64 // bytes per second of objects put
	Download int64 // bytes per second of objects read
	Requests int   // operations at a time

	// Now is the clock, nil is time.Now; Sleep pauses, nil is a timer. Tests set them.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
}

// NewLimit wraps st so that it is used no more than l allows. The rates hold over
// seconds, not within an object: an object is sent at once, and the next one waits
// until the time that the rate grants for it is over.
func NewLimit(st Storage, l Limits) Storage {
	if l.Now == nil {
		l.Now = time.Now
	}
	if l.Sleep == nil {
		l.Sleep = sleep
	}
	w := &limited{
		Storage: st,
		up:      pace{rate: l.Upload, now: l.Now, sleep: l.Sleep},
		down:    pace{rate: l.Download, now: l.Now, sleep: l.Sleep},
	}
	if l.Requests > 0 {
		w.slots = make(chan struct{}, l.Requests)
	}
	return w
}

type limited struct {
	Storage
	up, down pace
	slots    chan struct{} // nil: any number at a time
}

// Unwrap returns the storage below.
func (l *limited) Unwrap() Storage { return l.Storage }

// pace spreads bytes over time.
type pace struct {
	rate  int64 // bytes per second; 0: no limit
	now   func() time.Time
	sleep func(ctx context.Context, d time.Duration) error

	mu   sync.Mutex
	free time.Time // when what was let through so far has had its time
}

// take lets n bytes through, when it is their turn.
func (p *pace) take(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := p.now()
	if p.free.Before(now) {
		p.free = now
	}
	wait := p.free.Sub(now)
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	return p.sleep(ctx, wait)
}

// do runs f when there is a slot for it. Waiting for the pace comes first, so that
// who waits holds no slot.
func (l *limited) do(ctx context.Context, p *pace, n int, f func() error) error {
	if p != nil {
		if err := p.take(ctx, n); err != nil {
			return err
		}
	}
	if l.slots != nil {
		select {
		case l.slots <- struct{}{}:
			defer func() { <-l.slots }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f()
}

func (l *limited) Put(ctx context.Context, key string, data []byte) error {
	return l.do(ctx, &l.up, len(data), func() error { return l.Storage.Put(ctx, key, data) })
}

func (l *limited) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	return l.do(ctx, &l.down, len(dst), func() error { return l.Storage.Read(ctx, key, offset, dst) })
}

func (l *limited) Get(ctx context.Context, key string, limit int64) (data []byte, err error) {
	err = l.do(ctx, nil, 0, func() error {
		data, err = l.Storage.Get(ctx, key, limit)
		return err
	})
	if err == nil {
		// How long it is shows only now. Whoever comes next waits for it.
		err = l.down.take(ctx, len(data))
	}
	return data, err
}

func (l *limited) Stat(ctx context.Context, key string) (info Info, err error) {
	err = l.do(ctx, nil, 0, func() error {
		info, err = l.Storage.Stat(ctx, key)
		return err
	})
	return info, err
}

// List holds no slot: its function may use the storage, and would wait for itself.
func (l *limited) List(ctx context.Context, prefix string, fn func(Info) error) error {
	return l.Storage.List(ctx, prefix, fn)
}

func (l *limited) Delete(ctx context.Context, key string) error {
	return l.do(ctx, nil, 0, func() error { return l.Storage.Delete(ctx, key) })
}
