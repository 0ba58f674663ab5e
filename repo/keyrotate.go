package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo/seal"
)

// OtherKeys says what becomes, in a rotation, of slots whose secrets are not given. A
// new ring cannot be wrapped for them.
type OtherKeys int

// What may become of them.
const (
	RefuseOthers OtherKeys = iota // nothing is rotated if there are any: an *OtherKeysError
	KeepOthers                    // they go on opening what was sealed before, and nothing else
	DropOthers                    // they are removed
)

// RotateOptions say how to rotate.
type RotateOptions struct {
	Also   []Secret // whose slots get the new ring, beside the one that opened the repository
	Others OtherKeys
	Now    time.Time
}

// OtherKeysError says whose secrets were not given.
type OtherKeysError struct{ Slots []KeySlot }

func (e *OtherKeysError) Error() string {
	ids := make([]string, len(e.Slots))
	for i, s := range e.Slots {
		ids[i] = fmt.Sprintf("%s (%s)", s.ID, s.Kind)
	}
	return "the secrets of these key slots are not given, so they would not open what is stored from now on: " + strings.Join(ids, ", ")
}

// Is makes errors.Is(err, ErrUsage) true.
func (e *OtherKeysError) Is(target error) bool { return target == ErrUsage }

// Hint returns the next step.
func (e *OtherKeysError) Hint() string {
	return "give them with --also-key-file, --also-password-file or --also-password-command; or --drop-others to remove those slots, or --keep-others to leave them what was stored before"
}

// RotateKeys adds an epoch of fresh random to the key ring, for data and metadata, and
// wraps the new ring for the secrets at hand. What was sealed before stays as it is and
// goes on to be read; names of chunks and cut points stay, so deduplication does, too.
// Other processes take the new epoch up when they open the repository, or meet the first
// object that is sealed with it; until then theirs are sealed with the epoch before.
//
// left are the slots that were kept or removed without the new ring.
func (r *Repo) RotateKeys(ctx context.Context, o RotateOptions) (table *KeyTable, left []KeySlot, err error) {
	fail := func(err error) (*KeyTable, []KeySlot, error) { return nil, nil, fmt.Errorf("rotate keys: %w", err) }
	if err := r.needKeys(); err != nil {
		return fail(err)
	}
	secrets, kinds := []*credential{r.cred}, []string{""}
	for _, secret := range o.Also {
		cred, err := secret.credential(ctx)
		if err != nil {
			return fail(err)
		}
		if !slices.ContainsFunc(secrets, func(c *credential) bool { return *c == cred }) {
			secrets, kinds = append(secrets, &cred), append(kinds, secret.what())
		}
	}
	table, err = r.changeKeys(ctx, o.Now, secrets, func(state *keyState, ring *seal.Ring, _ string) ([]namedSlot, uint16, error) {
		left = nil
		next, err := ring.Rotated(state.set.Epoch)
		if err != nil {
			return nil, 0, err
		}
		var slots []namedSlot
		again := make(map[string]bool)
		for i, cred := range secrets {
			_, name, err := state.set.open(r.config.ID, cred)
			if errors.Is(err, ErrWrongKey) {
				return nil, 0, fmt.Errorf("%w: %s opens no key slot of this repository", ErrWrongKey, kinds[i])
			}
			if err != nil {
				return nil, 0, err
			}
			if again[name] {
				continue
			}
			again[name] = true
			made, err := r.newNamedSlot(next, cred, state.set.find(name).Kind, o.Now)
			if err != nil {
				return nil, 0, err
			}
			slots = append(slots, *made)
		}
		for _, slot := range state.set.Slots {
			if again[slot.Name] {
				continue
			}
			left = append(left, KeySlot{ID: slot.Name, Kind: slot.Kind, Created: slot.Created, Epochs: slot.Epochs})
			if o.Others == KeepOthers {
				slots = append(slots, slot)
			}
		}
		if len(left) > 0 && o.Others == RefuseOthers {
			return nil, 0, &OtherKeysError{left}
		}
		return slots, next.Newest(), nil
	})
	if err != nil {
		return fail(err)
	}
	return table, left, nil
}
