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
// object of its own; the first change puts a set in its place, and each further change
// the set of the next revision. Because the number is in the name and no object is ever
// replaced, of changes that run at once exactly one makes a revision, and the others
// begin again with what it left: no epoch is made twice, none is lost, and two removals
// cannot take each other's last slot. A crash leaves the set before or the set after.
//
// Each set has a copy, because a single bad block must not lock everybody out.
const (
	setPrefix  = "set-"
	copySuffix = ".copy"

	// keySetFeature is the feature that writers and collectors must know in a repository
	// with key sets: one that did not would go on with the slot of init, if that is there
	// still, and seal with an epoch that was retired.
	keySetFeature = "key-sets"
)

// featurePrefix begins the keys of markers.
const featurePrefix = "features/"

type keySet struct {
	Revision int         `json:"revision"`
	Epoch    uint16      `json:"epoch"` // the newest
	Written  time.Time   `json:"written"`
	Slots    []namedSlot `json:"slots"`
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

// setName is the name, below keys/, of the set of the revision.
func setName(revision int) string { return setPrefix + strconv.Itoa(revision) }

// setRevision returns the revision that the name of a set, or of its copy, says. What
// is not such a name is 0: the slot of init, for example.
func setRevision(name string) int {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(name, copySuffix), setPrefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || strconv.Itoa(n) != digits {
		return 0
	}
	return n
}

// keySetsUsed reports whether there may be key sets. Whoever opens a repository asks
// for the features anyway, so one that never had its keys changed costs no request more.
func keySetsUsed(ctx context.Context, st storage.Storage) (bool, error) {
	operations, err := st.Children(ctx, featurePrefix)
	return len(operations) > 0, err
}

// errMoved: a set was replaced by the next one between the listing and the reading.
var errMoved = errors.New("the key slots are being changed")

// readKeySet returns the newest of the sets that names names, or nil if there is none.
func readKeySet(ctx context.Context, st storage.Storage, names []storage.Child) (*keySet, error) {
	newest := 0
	for _, child := range names {
		newest = max(newest, setRevision(child.Name))
	}
	if newest == 0 {
		return nil, nil //nolint:nilnil // as the comment says
	}
	set, err := getKeySet(ctx, st, setName(newest), newest)
	if err == nil {
		return set, nil
	}
	// Both have the same bytes.
	if copied, copyErr := getKeySet(ctx, st, setName(newest)+copySuffix, newest); copyErr == nil {
		return copied, nil
	}
	if errors.Is(err, storage.ErrNotExist) {
		return nil, fmt.Errorf("key slots: %s%s: %w", slotPrefix, setName(newest), errMoved)
	}
	if errors.Is(err, ErrDamaged) {
		err = WithHint(err, "put "+slotPrefix+setName(newest)+" back from a copy of the repository")
	}
	return nil, err
}

func getKeySet(ctx context.Context, st storage.Storage, name string, revision int) (*keySet, error) {
	object, err := st.Get(ctx, slotPrefix+name, slotLimit)
	if err != nil {
		return nil, err
	}
	return parseKeySet(name, object, revision)
}

func parseKeySet(name string, object []byte, revision int) (*keySet, error) {
	s := &keySet{}
	if err := decodeKeyObject(name, object, s); err != nil {
		return nil, err
	}
	if s.Revision != revision || s.Epoch == 0 || len(s.Slots) == 0 {
		return nil, fmt.Errorf("key slots %s: %w: revision %d, epoch %d, %d slots", name, ErrDamaged, s.Revision, s.Epoch, len(s.Slots))
	}
	return s, nil
}

// checkKeyObject reads an object below keys/ to see whether it is whole.
func checkKeyObject(ctx context.Context, st storage.Storage, name string) error {
	if revision := setRevision(name); revision != 0 {
		_, err := getKeySet(ctx, st, name, revision)
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
