package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// A key set is all key slots that count, in one object. Init puts a single slot as an
// object of its own; the first change of keys puts a set in its place, and each further
// change the set of the next revision:
//
//  1. keys/set-<revision>-<id> and a copy, because a single bad block must not lock
//     everybody out; they are read back and opened. Nobody looks at them yet.
//  2. keys/revision-<revision>, which names the set. It is what decides: of changes that
//     run at once one gets it put, and the others begin again with what that one left. So
//     no epoch is made twice, none is lost, and two removals cannot take each other's last
//     slot.
//  3. Only then what counted before is removed.
//
// Marks of revisions are never removed, and ids never come back. Else a change that was
// held up for long could put its set where another was removed meanwhile, and somebody
// could seal with an epoch that nobody else will ever know.
const (
	setPrefix      = "set-"
	revisionPrefix = "revision-"
	copySuffix     = ".copy"

	// keySetFeature is the feature that writers and collectors must know in a repository
	// with key sets: one that did not would go on with the slot of init, if that is there
	// still, and seal with an epoch that was retired.
	keySetFeature = "key-sets"
)

// featurePrefix begins the keys of markers.
const featurePrefix = "features/"

type keySet struct {
	Revision int         `json:"revision"`
	ID       string      `json:"id"`    // random
	Epoch    uint16      `json:"epoch"` // the newest
	Written  time.Time   `json:"written"`
	Slots    []namedSlot `json:"slots"`
}

// keyRevision is what a mark of a revision holds.
type keyRevision struct {
	Set string `json:"set"` // id
}

// namedSlot is a slot of a set.
type namedSlot struct {
	Name   string   `json:"name"`
	Epochs []uint16 `json:"epochs"` // of its ring; for people, and to know who falls behind
	slot
}

// opensNewest reports whether the slot's ring has the epoch that seals what is written.
func (s *keySet) opensNewest(slot *namedSlot) bool { return slices.Contains(slot.Epochs, s.Epoch) }

func (s *keySet) find(name string) *namedSlot {
	for i := range s.Slots {
		if s.Slots[i].Name == name {
			return &s.Slots[i]
		}
	}
	return nil
}

// name is that of the set's object, below keys/.
func (s *keySet) name() string { return setPrefix + strconv.Itoa(s.Revision) + "-" + s.ID }

func revisionName(revision int) string { return revisionPrefix + strconv.Itoa(revision) }

// parseNumber returns the revision that digits say, or 0.
func parseNumber(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || strconv.Itoa(n) != digits {
		return 0
	}
	return n
}

// markedRevision returns the revision of which the name is the mark, or 0.
func markedRevision(name string) int {
	digits, ok := strings.CutPrefix(name, revisionPrefix)
	if !ok {
		return 0
	}
	return parseNumber(digits)
}

// setRevision returns the revision and the id of the set, or copy of one, that the name
// is of; else 0.
func setRevision(name string) (revision int, id string) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(name, copySuffix), setPrefix)
	digits, id, _ := strings.Cut(rest, "-")
	if !ok || id == "" {
		return 0, ""
	}
	return parseNumber(digits), id
}

// keySetsUsed reports whether there may be key sets. Whoever opens a repository asks
// for the features anyway, so one that never had its keys changed costs no request more.
func keySetsUsed(ctx context.Context, st storage.Storage) (bool, error) {
	operations, err := st.Children(ctx, featurePrefix)
	return len(operations) > 0, err
}

// errMoved: a set was replaced by the next one between the listing and the reading.
var errMoved = errors.New("the key slots are being changed")

// readKeySet returns the set that counts, going by what a listing of keys/ showed, or
// nil if there is none.
func readKeySet(ctx context.Context, st storage.Storage, names []storage.Child) (*keySet, error) {
	newest := 0
	for _, child := range names {
		newest = max(newest, markedRevision(child.Name))
	}
	if newest == 0 {
		return nil, nil //nolint:nilnil // as the comment says
	}
	// Even where the listing shows a single set of that revision: it may be one that
	// did not get the mark.
	name := revisionName(newest)
	mark, err := readKeyRevision(ctx, st, name)
	if err != nil {
		return nil, keySetError(name, err)
	}
	want := &keySet{Revision: newest, ID: mark.Set}
	set, err := getKeySet(ctx, st, want.name())
	if err == nil {
		return set, nil
	}
	// Both have the same bytes.
	if copied, copyErr := getKeySet(ctx, st, want.name()+copySuffix); copyErr == nil {
		return copied, nil
	}
	if errors.Is(err, storage.ErrNotExist) {
		return nil, keySetError(want.name(), errMoved)
	}
	return nil, keySetError(want.name(), err)
}

func keySetError(name string, err error) error {
	if errors.Is(err, ErrDamaged) || errors.Is(err, errMoved) {
		err = WithHint(fmt.Errorf("%s%s: %w", slotPrefix, name, err), "if it stays so, put "+slotPrefix+" back from a copy of the repository")
	}
	return err
}

func readKeyRevision(ctx context.Context, st storage.Storage, name string) (*keyRevision, error) {
	object, err := st.Get(ctx, slotPrefix+name, slotLimit)
	if err != nil {
		return nil, err
	}
	mark := &keyRevision{}
	if err := decodeKeyObject(name, object, mark); err != nil {
		return nil, err
	}
	if storage.CheckKey(mark.Set) != nil {
		return nil, fmt.Errorf("%w: it names no set", ErrDamaged)
	}
	return mark, nil
}

// getKeySet reads a set, or its copy.
func getKeySet(ctx context.Context, st storage.Storage, name string) (*keySet, error) {
	object, err := st.Get(ctx, slotPrefix+name, slotLimit)
	if err != nil {
		return nil, err
	}
	return parseKeySet(name, object)
}

func parseKeySet(name string, object []byte) (*keySet, error) {
	s := &keySet{}
	if err := decodeKeyObject(name, object, s); err != nil {
		return nil, err
	}
	if s.name() != strings.TrimSuffix(name, copySuffix) || s.Epoch == 0 || len(s.Slots) == 0 {
		return nil, fmt.Errorf("key slots %s: %w: revision %d, epoch %d, %d slots", name, ErrDamaged, s.Revision, s.Epoch, len(s.Slots))
	}
	return s, nil
}

// checkKeyObject reads an object below keys/ to see whether it is whole.
func checkKeyObject(ctx context.Context, st storage.Storage, name string) error {
	if revision, _ := setRevision(name); revision != 0 {
		_, err := getKeySet(ctx, st, name)
		return err
	}
	if markedRevision(name) != 0 {
		_, err := readKeyRevision(ctx, st, name)
		return err
	}
	_, err := readSlot(ctx, st, name)
	return err
}

// isLooseSlot reports whether the name is that of a slot as init makes them.
func isLooseSlot(name string) bool {
	return name == plainSlot || strings.HasPrefix(name, keyFilePrefix) || strings.HasPrefix(name, passPrefix)
}

// looseKeySet returns the slots that are objects of their own, as init makes them, as
// a set. Their rings have the first epoch and no other.
func looseKeySet(ctx context.Context, st storage.Storage, names []storage.Child) (*keySet, error) {
	set := &keySet{Revision: 1, Epoch: firstEpoch}
	for _, child := range names {
		if !isLooseSlot(child.Name) {
			continue
		}
		s, err := readSlot(ctx, st, child.Name)
		if err != nil {
			return nil, err
		}
		set.Slots = append(set.Slots, namedSlot{Name: child.Name, Epochs: []uint16{firstEpoch}, slot: *s})
	}
	return set, nil
}

// firstEpoch is the number of the epoch that init makes.
const firstEpoch = 1

// open tries the slots. Where several open, the ring with the highest epoch counts.
func (s *keySet) open(repo digest.ID, cred *credential) (*seal.Ring, string, error) {
	var best *seal.Ring
	var name string
	var broken error
	for i := range s.Slots {
		slot := &s.Slots[i]
		ring, err := slot.open(repo, slot.Name, cred)
		switch {
		case err == nil && (best == nil || ring.Newest() > best.Newest()):
			best, name = ring, slot.Name
		case err != nil && !errors.Is(err, ErrWrongKey):
			// A slot that somebody broke must not keep the others out.
			broken = errors.Join(broken, err)
		}
	}
	switch {
	case best != nil:
		return best, name, nil
	case broken != nil:
		return nil, "", broken
	}
	return nil, "", ErrWrongKey
}
