package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// KeySlot is one way to open the repository.
type KeySlot struct {
	ID      string    `json:"id"`   // names it; of a key file it derives from the key
	Kind    string    `json:"kind"` // "key file", "password", "password command"
	Created time.Time `json:"created"`
	Epochs  []uint16  `json:"epochs"`  // that it opens
	Current bool      `json:"current"` // whether it opens the newest epoch, with which everything is sealed now
	Opened  bool      `json:"opened"`  // whether it is the one that opened the repository now
}

// KeyTable is what opens a repository.
type KeyTable struct {
	Epoch    uint16    `json:"epoch"`    // the newest
	Revision int       `json:"revision"` // how often the slots were changed, and 1
	Changed  time.Time `json:"changed"`  // when that was the last time, by the storage's clock
	Slots    []KeySlot `json:"slots"`
	// Superseded are objects of earlier revisions that could not be removed. Who has the
	// storage and a secret that was removed opens the repository with them still.
	Superseded []string `json:"superseded"`
}

// ErrNoKeys: the repository is not encrypted.
var ErrNoKeys = fmt.Errorf("%w: the repository is not encrypted, so it has no keys", ErrUsage)

// keyState is what lies under keys/.
type keyState struct {
	set        *keySet
	superseded []string // names of objects that do not count any more
}

func (r *Repo) needKeys() error {
	if r.config.Encrypted() {
		return nil
	}
	return WithHint(fmt.Errorf("%s: %w", r.st.Location(), ErrNoKeys),
		"make an encrypted repository with 'gpdedup repo init --key-file FILE', and 'gpdedup repo copy' to it")
}

func (r *Repo) readKeyState(ctx context.Context) (*keyState, error) {
	if err := r.needKeys(); err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		names, err := r.st.Children(ctx, slotPrefix)
		if err != nil {
			return nil, err
		}
		set, err := readKeySet(ctx, r.st, names)
		if errors.Is(err, errMoved) && attempt < 5 {
			continue
		}
		state := &keyState{set: set}
		switch {
		case err != nil:
		case set == nil:
			state.set, err = looseKeySet(ctx, r.st, names)
		default:
			for _, child := range names {
				// Sets of later revisions are of changes that go on beside this one; what has
				// another name is of a later version, and not ours to remove.
				n, id := setRevision(child.Name)
				if n != 0 && n <= set.Revision && id != set.ID || isLooseSlot(child.Name) {
					state.superseded = append(state.superseded, child.Name)
				}
			}
		}
		if errors.Is(err, storage.ErrNotExist) && attempt < 5 {
			continue // a slot of init that was superseded meanwhile
		}
		return state, err
	}
}

// changed returns when the slots were changed last, by the storage's clock.
func (r *Repo) changed(ctx context.Context, set *keySet) (time.Time, error) {
	name := revisionName(set.Revision)
	if set.ID == "" { // init's
		name = set.Slots[0].Name
	}
	info, err := r.st.Stat(ctx, slotPrefix+name)
	if errors.Is(err, storage.ErrNotExist) && set.ID == "" {
		return set.Slots[0].Created, nil // they are being changed at this moment
	}
	return info.ModTime, err
}

func (s *keyState) table(changed time.Time, opened string) *KeyTable {
	t := &KeyTable{Epoch: s.set.Epoch, Revision: s.set.Revision, Changed: changed, Slots: []KeySlot{}, Superseded: []string{}}
	for i := range s.set.Slots {
		slot := &s.set.Slots[i]
		t.Slots = append(t.Slots, KeySlot{
			ID: slot.Name, Kind: slot.Kind, Created: slot.Created, Epochs: slot.Epochs,
			Current: s.set.opensNewest(slot), Opened: slot.Name == opened,
		})
	}
	for _, name := range s.superseded {
		t.Superseded = append(t.Superseded, slotPrefix+name)
	}
	return t
}

// KeyTable returns what opens the repository.
func (r *Repo) KeyTable(ctx context.Context) (*KeyTable, error) {
	state, err := r.readKeyState(ctx)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	_, opened, err := state.set.open(r.config.ID, r.cred)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	changed, err := r.changed(ctx, state.set)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return state.table(changed, opened), nil
}

// keyChange makes the next set from the one that is there. It may be called again, if
// another change comes first.
type keyChange func(state *keyState, ring *seal.Ring, opened string) (slots []namedSlot, epoch uint16, err error)

// errNoChange ends a change that finds everything as it is to be.
var errNoChange = errors.New("nothing to change")

// changeKeys puts the next key set, reads it back, opens it with every credential that
// is to open it, makes it the one that counts, and only then removes what it replaces.
// Wherever that ends, the repository opens with the secrets of the set before, or of the
// new one.
func (r *Repo) changeKeys(ctx context.Context, now time.Time, secrets []*credential, change keyChange) (*KeyTable, error) {
	for range 10 {
		state, err := r.readKeyState(ctx)
		if err != nil {
			return nil, err
		}
		ring, opened, err := state.set.open(r.config.ID, r.cred)
		if err != nil {
			return nil, err
		}
		if ring.Newest() < state.set.Epoch {
			return nil, fmt.Errorf("%w: it opens what is sealed up to key epoch %d, and the newest is %d", ErrWrongKey, ring.Newest(), state.set.Epoch)
		}
		next := &keySet{Revision: state.set.Revision + 1, ID: newID().String()[:32], Written: now.UTC().Truncate(time.Second)}
		next.Slots, next.Epoch, err = change(state, ring, opened)
		if errors.Is(err, errNoChange) {
			return r.finishKeys(ctx, state, opened)
		}
		if err != nil {
			return nil, err
		}
		err = r.putKeySet(ctx, next, secrets)
		if errors.Is(err, errMoved) {
			continue // somebody else changed them first
		}
		if err != nil {
			return nil, err
		}
		if state, err = r.readKeyState(ctx); err != nil {
			return nil, err
		}
		return r.finishKeys(ctx, state, opened)
	}
	return nil, errors.New("others change the keys all the time")
}

// finishKeys removes what is superseded, as far as that is allowed, and uses the ring
// that is the newest now.
func (r *Repo) finishKeys(ctx context.Context, state *keyState, opened string) (*KeyTable, error) {
	var kept []string
	for _, name := range state.superseded {
		if err := r.st.Delete(ctx, slotPrefix+name); err != nil {
			if !storage.IsPermanent(err) {
				return nil, err
			}
			kept = append(kept, name)
		}
	}
	state.superseded = kept
	if ring, slot, err := state.set.open(r.config.ID, r.cred); err == nil {
		if err := r.keys.Replace(ring); err != nil {
			return nil, err
		}
		opened = slot
	}
	// So that the next process of this host does not begin with what was there before.
	newOpening(r.st, Options{CacheDir: r.opts.CacheDir}, time.Now(), r.log).drop()
	changed, err := r.changed(ctx, state.set)
	if err != nil {
		return nil, err
	}
	return state.table(changed, opened), nil
}

// putKeySet puts the set and makes it the one that counts, or returns errMoved if
// another of its revision does.
func (r *Repo) putKeySet(ctx context.Context, set *keySet, secrets []*credential) error {
	object, err := encodeKeyObject(set)
	if err != nil {
		return WithHint(err, "remove key slots that are not needed: gpdedup repo key remove ID")
	}
	mark, err := encodeKeyObject(keyRevision{set.ID})
	if err != nil {
		return err
	}
	// Before the first set, so that no program that does not know of sets goes on with
	// the slot of init.
	for _, operation := range []string{"write", "gc"} {
		err := r.st.Put(ctx, featurePrefix+operation+"/"+keySetFeature, []byte("key slots lie in sets\n"))
		if err != nil && !errors.Is(err, storage.ErrExists) { // its name says all
			return err
		}
	}
	for _, name := range []string{set.name(), set.name() + copySuffix} {
		if err := r.st.Put(ctx, slotPrefix+name, object); err != nil {
			return err
		}
		err := r.confirmKeySet(ctx, name, set.Epoch, secrets)
		if errors.Is(err, storage.ErrNotExist) {
			return errMoved // whoever got the mark has removed what did not
		}
		if err != nil {
			return err
		}
	}
	key := slotPrefix + revisionName(set.Revision)
	err = r.st.Put(ctx, key, mark)
	if err == nil && r.config.Target != nil && !r.config.Target.ConditionalPut {
		// Two may both have put theirs: the one that was overtaken sees the other's.
		if err = r.settle(ctx); err == nil {
			var there []byte
			if there, err = r.st.Get(ctx, key, slotLimit); err == nil && !bytes.Equal(there, mark) {
				err = storage.ErrExists
			}
		}
	}
	if errors.Is(err, storage.ErrExists) {
		return errMoved
	}
	return err
}

// confirmKeySet reads a set back, and opens it with each of the credentials.
func (r *Repo) confirmKeySet(ctx context.Context, name string, epoch uint16, secrets []*credential) error {
	there, err := getKeySet(ctx, r.st, name)
	if err != nil {
		return err
	}
	for _, cred := range secrets {
		ring, _, err := there.open(r.config.ID, cred)
		if err != nil || ring.Newest() != epoch {
			return fmt.Errorf("the new key slots do not open (%s%s, epoch %d): %w", slotPrefix, name, epoch, errors.Join(err, ErrDamaged))
		}
	}
	return nil
}

// AddKey makes a slot for secret. A secret that opens the newest epoch already gets
// none; it returns the id of the slot that the secret opens.
func (r *Repo) AddKey(ctx context.Context, secret Secret, now time.Time) (table *KeyTable, id string, err error) {
	if err := r.needKeys(); err != nil {
		return nil, "", fmt.Errorf("add key: %w", err)
	}
	cred, err := secret.credential(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("add key: %w", err)
	}
	table, err = r.changeKeys(ctx, now, []*credential{r.cred, &cred}, func(state *keyState, ring *seal.Ring, _ string) ([]namedSlot, uint16, error) {
		slots := slices.Clone(state.set.Slots)
		held, name, err := state.set.open(r.config.ID, &cred)
		switch {
		case err == nil && held.Newest() == state.set.Epoch:
			id = name
			return nil, 0, errNoChange
		case err == nil: // it fell behind in a rotation
			slots = slices.DeleteFunc(slots, func(s namedSlot) bool { return s.Name == name })
		case !errors.Is(err, ErrWrongKey):
			return nil, 0, err
		}
		made, err := r.newNamedSlot(ring, &cred, secret.slotKind(), now)
		if err != nil {
			return nil, 0, err
		}
		id = made.Name
		return append(slots, *made), state.set.Epoch, nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("add key: %w", err)
	}
	return table, id, nil
}

func (r *Repo) newNamedSlot(ring *seal.Ring, cred *credential, kind string, now time.Time) (*namedSlot, error) {
	name, s, err := newSlot(r.config.ID, ring, cred, kind, now.UTC().Truncate(time.Second))
	if err != nil {
		return nil, err
	}
	return &namedSlot{Name: name, Epochs: ring.Numbers(), slot: *s}, nil
}
