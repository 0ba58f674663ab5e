package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Policy says how often and how patiently NewRetry tries. Fields left zero take
// the default that their comment names.
type Policy struct {
	Attempts int           // tries in all, the first included; 5
	First    time.Duration // pause before the second try, doubled for each further one; 200 ms
	Max      time.Duration // longest pause; 10 s

	// Patience is how long operations are tried while not one of them succeeds;
	// zero sets no limit. So a process whose storage is gone ends, however many
	// operations it has still to make. Greeting is the same before the first success,
	// when a wrong address is as likely as a storage that is away; zero: Patience.
	Patience, Greeting time.Duration

	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// Sleep pauses for d or until ctx ends, and then returns its error. It is a
	// field so that tests need not wait; nil is a timer.
	Sleep func(ctx context.Context, d time.Duration) error

	// Notify, if set, hears of every failure that will be tried again.
	Notify func(op, key string, attempt int, err error)
}

// IsPermanent reports whether trying again cannot change err.
//
// The errors of an ended context are not in the list: whether they are permanent
// depends on whose context ended. An HTTP client's own timeout passes; the end
// of the caller's context is seen by looking at that context.
func IsPermanent(err error) bool {
	for _, p := range []error{
		ErrNotExist, ErrExists, ErrShort, ErrTooLong, ErrInvalidKey, ErrReadOnly, ErrNoSpace, ErrDenied, ErrNoPlace,
	} {
		if errors.Is(err, p) {
			return true
		}
	}
	var says interface{ Permanent() bool }
	return errors.As(err, &says) && says.Permanent()
}

// NewRetry wraps st so that operations that failed for a reason that may pass are
// tried again. This is sound because Put and Delete are idempotent, and because a
// failed Read leaves nothing that a later one does not overwrite. The error that
// a caller sees is that of the last try.
//
// List is tried again only while it has not yet called its function: afterwards
// a second run would show objects twice.
func NewRetry(st Storage, p Policy) Storage {
	if p.Attempts <= 0 {
		p.Attempts = 5
	}
	if p.First <= 0 {
		p.First = 200 * time.Millisecond
	}
	if p.Max <= 0 {
		p.Max = 10 * time.Second
	}
	if p.Sleep == nil {
		p.Sleep = sleep
	}
	if p.Greeting <= 0 {
		p.Greeting = p.Patience
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	return &retry{Storage: st, policy: p}
}

// retry passes Location and Close through to the storage it embeds.
type retry struct {
	Storage
	policy Policy
	good   atomic.Pointer[time.Time] // when an operation last succeeded; nil: never
}

// Unwrap returns the storage below.
func (r *retry) Unwrap() Storage { return r.Storage }

// spent reports whether an operation that began at start has been tried for as long
// as the policy wants.
func (r *retry) spent(start time.Time) bool {
	patience, since := r.policy.Greeting, start
	if good := r.good.Load(); good != nil {
		patience = r.policy.Patience
		if good.After(since) {
			since = *good
		}
	}
	return patience > 0 && r.policy.Now().Sub(since) >= patience
}

// do runs f until it succeeds, fails permanently, ctx ends, or the attempts are
// used up.
func (r *retry) do(ctx context.Context, op, key string, f func() error) error {
	start := r.policy.Now()
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || errors.Is(err, ErrNotExist) {
			now := r.policy.Now()
			r.good.Store(&now)
		}
		if err == nil || IsPermanent(err) || ctx.Err() != nil {
			return err
		}
		if attempt == r.policy.Attempts || r.spent(start) {
			if attempt > 1 {
				err = fmt.Errorf("%w (tried %d times)", err, attempt)
			}
			return err
		}
		if r.policy.Notify != nil {
			r.policy.Notify(op, key, attempt, err)
		}
		if ctxErr := r.policy.Sleep(ctx, r.policy.pause(attempt)); ctxErr != nil {
			return fmt.Errorf("%w (last failure: %w)", ctxErr, err)
		}
	}
}

// pause is the wait after the given failed attempt: First doubled each time, at
// most Max, of which the upper half is random, so that hundreds of processes that
// failed at the same moment do not come back at the same moment.
func (p Policy) pause(attempt int) time.Duration {
	d := p.First
	for i := 1; i < attempt && d < p.Max; i++ {
		d *= 2
	}
	d = min(d, p.Max)
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *retry) Put(ctx context.Context, key string, data []byte) error {
	return r.do(ctx, "put", key, func() error { return r.Storage.Put(ctx, key, data) })
}

func (r *retry) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	return r.do(ctx, "read", key, func() error { return r.Storage.Read(ctx, key, offset, dst) })
}

func (r *retry) Get(ctx context.Context, key string, limit int64) (data []byte, err error) {
	err = r.do(ctx, "get", key, func() error {
		data, err = r.Storage.Get(ctx, key, limit)
		return err
	})
	return data, err
}

func (r *retry) Stat(ctx context.Context, key string) (info Info, err error) {
	err = r.do(ctx, "stat", key, func() error {
		info, err = r.Storage.Stat(ctx, key)
		return err
	})
	return info, err
}

func (r *retry) List(ctx context.Context, prefix string, fn func(Info) error) error {
	var called bool
	var final error
	err := r.do(ctx, "list", prefix, func() error {
		err := r.Storage.List(ctx, prefix, func(info Info) error {
			called = true
			return fn(info)
		})
		if called {
			final, err = err, nil // whatever it is, there is no second run
		}
		return err
	})
	if called {
		return final
	}
	return err
}

func (r *retry) Children(ctx context.Context, prefix string) (children []Child, err error) {
	err = r.do(ctx, "list", prefix, func() error {
		children, err = r.Storage.Children(ctx, prefix)
		return err
	})
	return children, err
}

func (r *retry) Delete(ctx context.Context, key string) error {
	return r.do(ctx, "delete", key, func() error { return r.Storage.Delete(ctx, key) })
}
