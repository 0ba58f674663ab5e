package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/storage"
)

// FragmentInfo is one line of the listing of index/.
type FragmentInfo struct {
	ID      digest.ID
	Size    int64     // bytes on storage
	ModTime time.Time // the storage's clock; decides only which fragment is preferred
}

// Loader reads and opens one fragment. It is called from several goroutines at once.
// An error that wraps storage.ErrNotExist says that the fragment has gone since the
// listing.
type Loader func(ctx context.Context, id digest.ID) ([]Pack, error)

// FragmentError says why a fragment was passed over.
type FragmentError struct {
	ID  digest.ID
	Err error
}

func (e *FragmentError) Error() string { return fmt.Sprintf("load fragment %s: %v", e.ID, e.Err) }

// Unwrap returns the cause.
func (e *FragmentError) Unwrap() error { return e.Err }

// listing is the fragments that exist, by id and each once.
type listing []FragmentInfo

// newListing leaves listed as it is. Storages list in order of the key, so that
// usually nothing is to be done.
func newListing(listed []FragmentInfo) listing {
	byID := func(a, b FragmentInfo) int { return a.ID.Compare(b.ID) }
	rising := true
	for i := 1; i < len(listed) && rising; i++ {
		rising = byID(listed[i-1], listed[i]) < 0
	}
	if rising {
		return listed
	}
	l := slices.Clone(listed)
	slices.SortFunc(l, byID)
	return slices.CompactFunc(l, func(a, b FragmentInfo) bool { return a.ID == b.ID })
}

func (l listing) find(id digest.ID) (int, bool) {
	return slices.BinarySearchFunc(l, id, func(f FragmentInfo, id digest.ID) int { return f.ID.Compare(id) })
}

// newestFirst sorts positions in l.
func (l listing) newestFirst(positions []int) {
	slices.SortFunc(positions, func(a, b int) int {
		return cmp.Or(l[b].ModTime.Compare(l[a].ModTime), cmp.Compare(b, a))
	})
}

// newer reports whether the fragment at position a comes before that at b in
// newestFirst.
func (l listing) newer(a, b int) bool {
	return cmp.Or(l[a].ModTime.Compare(l[b].ModTime), cmp.Compare(a, b)) > 0
}

// How much a process loads at once: enough to hide the latency of a remote storage,
// not more than a small process can hold.
const (
	loadParallel = 8
	loadBytes    = 8 << 20
)

// load reads the fragments at the given positions, several at a time, and passes
// each to use, one at a time and in no particular order. Fragments that cannot be
// had are returned; err is the context's or use's.
func (l listing) load(ctx context.Context, positions []int, load Loader, first uint32,
	use func(position int, packs []Pack) error,
) (skipped []*FragmentError, err error) {
	group, loading := errgroup.WithContext(ctx)
	group.SetLimit(loadParallel)
	inFlight := semaphore.NewWeighted(loadBytes)
	var mu sync.Mutex // guards skipped, and serialises use
	for _, position := range positions {
		weight := min(max(l[position].Size, 1), loadBytes)
		if inFlight.Acquire(loading, weight) != nil {
			break // the group or the caller has ended
		}
		group.Go(func() error {
			defer inFlight.Release(weight)
			id := l[position].ID
			packs, err := load(loading, id)
			if err == nil {
				err = checkPacks(first, packs)
			}
			if loading.Err() != nil {
				return loading.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				skipped = append(skipped, &FragmentError{ID: id, Err: err})
				return nil
			}
			return use(position, packs)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return skipped, ctx.Err() // the loop may have ended without starting anything
}

func (e *FragmentError) vanished() bool { return errors.Is(e.Err, storage.ErrNotExist) }
