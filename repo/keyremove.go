package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// ErrLastKey: nothing else would open the newest epoch.
var ErrLastKey = fmt.Errorf("%w: it is the last key that opens what is sealed now", ErrUsage)

// RemoveKey removes the slot whose id is, or alone begins with, id. Afterwards its
// secret opens nothing that lies in the storage; it fails if an object that the secret
// opens cannot be removed. What remains possible to who has the secret and a copy of
// what was removed, or read the key ring before, only [Repo.RotateKeys] ends, for what
// is sealed from then on.
func (r *Repo) RemoveKey(ctx context.Context, id string, now time.Time) (table *KeyTable, removed string, err error) {
	if err := r.needKeys(); err != nil {
		return nil, "", fmt.Errorf("remove key: %w", err)
	}
	// Asked before anything is changed: what is refused here would leave the slot where
	// it can be read. Nothing ever has this name.
	if err := r.st.Delete(ctx, slotPrefix+"none"); err != nil {
		return nil, "", deleteRefused(fmt.Errorf("remove key: %w", err))
	}
	table, err = r.changeKeys(ctx, now, []*credential{}, func(state *keyState, _ *seal.Ring, _ string) ([]namedSlot, uint16, error) {
		slot, err := state.set.match(id)
		if err != nil {
			// Gone from the set, but an earlier attempt could not remove its objects?
			lies, readErr := r.liesStill(ctx, state, id)
			if lies {
				removed, err = id, errNoChange
			}
			return nil, 0, cmp.Or(readErr, err)
		}
		rest := slices.DeleteFunc(slices.Clone(state.set.Slots), func(s namedSlot) bool { return s.Name == slot.Name })
		if !slices.ContainsFunc(rest, func(s namedSlot) bool { return state.set.opensNewest(&s) }) {
			return nil, 0, WithHint(fmt.Errorf("key slot %s: %w", slot.Name, ErrLastKey), "add another key first: gpdedup repo key add")
		}
		removed = slot.Name
		return rest, state.set.Epoch, nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("remove key: %w", err)
	}
	if len(table.Superseded) > 0 {
		return table, removed, deleteRefused(fmt.Errorf("remove key: %s: %w: the key slot lies there still, and who has its secret and the storage opens the repository with it",
			table.Superseded[0], storage.ErrDenied))
	}
	return table, removed, nil
}

// liesStill reports whether the slot is in an object that does not count any more.
func (r *Repo) liesStill(ctx context.Context, state *keyState, id string) (bool, error) {
	for _, name := range state.superseded {
		if name == id {
			return true, nil
		}
		if revision, _ := setRevision(name); revision == 0 {
			continue
		}
		set, err := getKeySet(ctx, r.st, name)
		if err == nil && set.find(id) != nil {
			return true, nil
		}
		if err != nil && !errors.Is(err, storage.ErrNotExist) && !errors.Is(err, ErrDamaged) {
			return false, err
		}
	}
	return false, nil
}

func deleteRefused(err error) error {
	if !storage.IsPermanent(err) {
		return err
	}
	return WithHint(err, "run it with an account that may delete below keys/; or make the secret worthless for new backups with 'gpdedup repo key rotate --drop-others'")
}

// match returns the slot whose name begins with id, if there is one and no other.
func (s *keySet) match(id string) (*namedSlot, error) {
	if slot := s.find(id); slot != nil {
		return slot, nil
	}
	var found *namedSlot
	for i := range s.Slots {
		if !strings.HasPrefix(s.Slots[i].Name, id) || id == "" {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: %q begins the ids of several key slots", ErrUsage, id)
		}
		found = &s.Slots[i]
	}
	if found == nil {
		return nil, WithHint(fmt.Errorf("%w: there is no key slot %q", ErrUsage, id), "'gpdedup repo key list' shows them")
	}
	return found, nil
}
