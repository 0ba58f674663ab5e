package storage_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
	"github.com/gpdedup/gpdedup/storage/storagetest"
)

// manualClock moves only while somebody sleeps.
type manualClock struct{ now time.Time }

func (c *manualClock) Now() time.Time { return c.now }

func (c *manualClock) Sleep(_ context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	return nil
}

func TestLimitConforms(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage {
		return storage.NewLimit(mem.New(), storage.Limits{Upload: 1 << 40, Download: 1 << 40, Requests: 3})
	})
}

func TestLimitPaces(t *testing.T) {
	clock := &manualClock{time.Unix(0, 0)}
	st := storage.NewLimit(mem.New(), storage.Limits{Upload: 1000, Download: 500, Now: clock.Now, Sleep: clock.Sleep})
	ctx := t.Context()
	for _, key := range []string{"a", "b", "c"} {
		if err := st.Put(ctx, key, make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	// The third is on its way when the first two have had their time.
	if at := clock.now.Unix(); at != 4 {
		t.Errorf("three puts of 2000 bytes at 1000 a second: the last began after %d s", at)
	}
	begin := clock.now
	for range 2 {
		if _, err := st.Get(ctx, "a", -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Read(ctx, "a", 0, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if took := clock.now.Sub(begin); took != 8*time.Second {
		t.Errorf("reading 4000 bytes at 500 a second, and then some: %v", took)
	}
}

func TestLimitRequests(t *testing.T) {
	inner := mem.New()
	st := storage.NewLimit(inner, storage.Limits{Requests: 2})
	release, reached := make(chan struct{}), make(chan struct{}, 10)
	inner.SetHook(func(string, string) mem.Fault {
		reached <- struct{}{}
		return mem.Fault{Block: release}
	})
	var wg sync.WaitGroup
	for _, key := range []string{"a", "b"} {
		wg.Go(func() { _ = st.Put(t.Context(), key, nil) })
	}
	<-reached
	<-reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := st.Put(ctx, "c", nil); !errors.Is(err, context.Canceled) || inner.Counts()["put"] != 2 {
		t.Errorf("a third beside two that run: %v, %d began", err, inner.Counts()["put"])
	}
	close(release)
	wg.Wait()
	if err := st.Put(t.Context(), "c", nil); err != nil {
		t.Error(err)
	}
}
