package wal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// A removal is announced by a mark like that of a standby, from the first segment on that it
// keeps. It holds nothing; an older program takes it for a standby's, and keeps more.
//
// A backup that was made before its WAL was looked after, one that comes from a file above
// all, may need what a cleanup has decided to remove, however long ago it decided that.
// So it becomes visible first and looks for announcements then, and a cleanup announces
// first and looks for backups then: one of the two sees the other.
const removalPrefix = "wal cleanup "

const (
	// removalLimit is how long a cleanup removes files before it stops by itself.
	removalLimit = time.Hour
	// removalForgotten is after how long an announcement counts no more: whoever made it
	// was killed. It is long enough for clocks that differ.
	removalForgotten = 24 * time.Hour
)

// BasePushPrefix begins the names of marks that keep the WAL of base backups that are
// not visible yet; the label follows.
const BasePushPrefix = "base push "

// removal reports whether the mark announces a removal.
func (m *Mark) removal() bool { return strings.HasPrefix(m.Standby, removalPrefix) }

// who says whose mark it is.
func (m *Mark) who() string {
	if strings.HasPrefix(m.Standby, BasePushPrefix) {
		return m.Standby
	}
	return "standby " + m.Standby
}

// announceRemoval announces that what lies before the file from may be removed from now
// on, until withdraw returns.
func (a *Archive) announceRemoval(ctx context.Context, epoch SystemID, from Name, now time.Time) (withdraw func() error, err error) {
	host, _ := os.Hostname() // only for people to read
	who := fmt.Sprintf("%s%.40s %d %08x", removalPrefix, host, os.Getpid(), rand.Uint32())
	if err := a.SetMark(ctx, epoch, who, from, now); err != nil {
		return nil, err
	}
	return func() error {
		_, err := a.ForgetStandby(context.WithoutCancel(ctx), epoch, who)
		return err
	}, nil
}

// Removing returns the announcement of a removal that is under way, as far as is known,
// and may remove the segment first or one after it; nil if there is none.
func (a *Archive) Removing(ctx context.Context, epoch SystemID, first Name, now time.Time) (*Mark, error) {
	marks, err := a.Marks(ctx, epoch)
	if err != nil {
		return nil, err
	}
	for i := range marks {
		m := &marks[i]
		if m.removal() && m.From.Position() > first.Position() && now.Sub(m.Time) <= removalForgotten {
			return m, nil
		}
	}
	return nil, nil //nolint:nilnil // as is said
}
