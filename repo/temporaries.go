package repo

import (
	"context"
	"time"

	"github.com/gpdedup/gpdedup/storage"
)

// temporaries is what a storage has that keeps what puts were writing when their process
// died.
type temporaries interface {
	RemoveTemporaries(ctx context.Context, olderThan time.Duration) (int, error)
}

// temporaryAge is more than any put takes: one that is still running fails when what it
// writes to goes.
const temporaryAge = 24 * time.Hour

// tidyTemporaries removes what processes that died left in the storage. Failing at that is
// no failure of the run.
func (c *collector) tidyTemporaries(ctx context.Context) error {
	st, ok := storage.As[temporaries](c.r.st)
	if !ok || c.o.DryRun {
		return nil
	}
	age := temporaryAge
	if c.o.Exclusive {
		age = 0
	}
	n, err := st.RemoveTemporaries(ctx, age)
	c.report.RemovedTemporaries = n
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		c.keep("%v", err)
	}
	return nil
}
