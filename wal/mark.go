package wal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// Mark says from which segment on a standby needs the WAL.
type Mark struct {
	Standby string    `json:"standby"`
	From    Name      `json:"-"`
	Host    string    `json:"host,omitempty"`
	Time    time.Time `json:"time"`

	key string
}

const maxMark = 64 << 10

func (a *Archive) marksPrefix(epoch SystemID) string {
	return a.prefix + epoch.String() + "/" + standbyFolder + "/"
}

// Marks returns the marks of all standbys. One standby may have several, while it
// moves its mark or if that was interrupted; then the lowest counts. A mark that
// cannot be read is an error: nothing may be removed then.
func (a *Archive) Marks(ctx context.Context, epoch SystemID) ([]Mark, error) {
	prefix := a.marksPrefix(epoch)
	var marks []Mark
	err := a.st.List(ctx, prefix, func(info storage.Info) error {
		folder, file, _ := strings.Cut(strings.TrimPrefix(info.Key, prefix), "/")
		standby, err := repo.UnescapeName(folder)
		if err != nil {
			return fmt.Errorf("%s is none of gpdedup's objects: %w", info.Key, err)
		}
		name, err := ParseName(file)
		if err != nil || name.Kind != Segment {
			return fmt.Errorf("%s is none of gpdedup's objects", info.Key)
		}
		marks = append(marks, Mark{Standby: standby, From: name, key: info.Key})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list standbys: %w", err)
	}
	read := marks[:0]
	for _, m := range marks {
		// Only somebody with the key can have written it: else whoever can write to the
		// storage could have us remove WAL that a standby needs.
		object, err := a.st.Get(ctx, m.key, maxMark)
		if errors.Is(err, storage.ErrNotExist) {
			continue // moved meanwhile, and what it moved to was there before
		}
		var payload []byte
		if err == nil {
			payload, err = a.keys.OpenDocument(seal.Mark, m.key, object, a.opener.zstd)
		}
		if err == nil && json.Unmarshal(payload, &m) != nil {
			err = repo.ErrDamaged
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
		read = append(read, m)
	}
	return read, nil
}

// SetMark records that the standby needs the WAL from the segment on.
func (a *Archive) SetMark(ctx context.Context, epoch SystemID, standby string, from Name, now time.Time) error {
	component, err := repo.EscapeName("standby", standby)
	if err != nil {
		return err
	}
	from.Kind, from.Offset = Segment, 0
	prefix := a.marksPrefix(epoch) + component + "/"
	// Listed before the new one is put, so that two calls at once cannot remove each
	// other's.
	old, err := a.st.Children(ctx, prefix)
	if err != nil {
		return fmt.Errorf("record standby %s: %w", standby, err)
	}
	host, _ := os.Hostname() // only for people to read
	payload, err := json.Marshal(Mark{Standby: standby, Host: host, Time: now.UTC()})
	if err != nil {
		return err
	}
	key := prefix + from.String()
	object, err := a.keys.SealDocument(seal.Mark, key, payload, nil)
	if err != nil {
		return err
	}
	// One that is there already says the same.
	if err := a.st.Put(ctx, key, object); err != nil && !errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("record standby %s: %w", standby, err)
	}
	// The new mark is durable before the old ones go.
	return a.removeMarks(ctx, prefix, old, from.String())
}

// ForgetStandby removes the marks of a standby, and reports whether it had any.
func (a *Archive) ForgetStandby(ctx context.Context, epoch SystemID, standby string) (bool, error) {
	component, err := repo.EscapeName("standby", standby)
	if err != nil {
		return false, err
	}
	prefix := a.marksPrefix(epoch) + component + "/"
	old, err := a.st.Children(ctx, prefix)
	if err != nil {
		return false, fmt.Errorf("forget standby %s: %w", standby, err)
	}
	return len(old) > 0, a.removeMarks(ctx, prefix, old, "")
}

func (a *Archive) removeMarks(ctx context.Context, prefix string, marks []storage.Child, but string) error {
	for _, m := range marks {
		if m.Dir || m.Name == but {
			continue
		}
		if err := a.st.Delete(ctx, prefix+m.Name); err != nil {
			return fmt.Errorf("remove old mark: %w", err)
		}
	}
	return nil
}
