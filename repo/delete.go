package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// A tombstone deletes a root: readers refuse it at once, and prune removes its
// manifests when the grace has passed. Until then it can be taken back.
type tombstone struct {
	Time time.Time `json:"time"`
	Host string    `json:"host,omitempty"`
}

// Delete puts the tombstone of the root that name belongs to: for a Backup the
// whole timestamp. What is deleted already, or was never stored, is a success.
func (r *Repo) Delete(ctx context.Context, name Name) error {
	if err := validatePart("namespace", name.Namespace); err != nil {
		return err
	}
	if err := validatePart("name", name.Group); err != nil {
		return err
	}
	host, _ := os.Hostname() // only for people to read
	body, err := json.Marshal(tombstone{Time: time.Now().UTC(), Host: host})
	if err != nil {
		return fmt.Errorf("delete %s: %w", name.Group, err)
	}
	key := name.tombstoneKey()
	object, err := r.keys.SealDocument(seal.Tombstone, key, body, nil)
	if err != nil {
		return fmt.Errorf("delete %s: %w", name.Group, err)
	}
	if err := r.st.Put(ctx, key, object); err != nil && !errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("delete %s: %w", name.Group, err)
	}
	return nil
}

// Deleted reports whether the root that name belongs to has a tombstone.
func (r *Repo) Deleted(ctx context.Context, name Name) (bool, error) {
	_, err := r.st.Stat(ctx, name.tombstoneKey())
	if errors.Is(err, storage.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ErrTooLate: what was deleted cannot be brought back any more.
var ErrTooLate = errors.New("too late to undelete")

// ErrNotDeleted: there is nothing to undelete.
var ErrNotDeleted = errors.New("it is not deleted")

// Undelete takes the tombstone of name's root away, and then looks as a writer
// does. If a collector has begun to remove what was deleted, the tombstone is put
// back and the result is ErrTooLate. If there is none, it is ErrNotDeleted.
func (r *Repo) Undelete(ctx context.Context, name Name) error {
	deleted, err := r.Deleted(ctx, name)
	if err != nil {
		return fmt.Errorf("undelete %s: %w", name.Group, err)
	}
	if !deleted {
		return fmt.Errorf("undelete %s: %w", name.Group, ErrNotDeleted)
	}
	before, err := r.Items(ctx, name.Class, name.Namespace, name.Group)
	if err != nil {
		return fmt.Errorf("undelete %s: %w", name.Group, err)
	}
	if r.broken.undeleteLookFirst {
		err = r.lookAtRoot(ctx, name, before)
	}
	if err := r.st.Delete(ctx, name.tombstoneKey()); err != nil {
		return fmt.Errorf("undelete %s: %w", name.Group, err)
	}
	// From here on a collector that reads tombstones spares the root. One that
	// read them before has put a condemned list that names it before that, so the
	// look, which comes after the tombstone is gone, sees that list.
	if !r.broken.undeleteNoLook && !r.broken.undeleteLookFirst {
		err = r.lookAtRoot(ctx, name, before)
	}
	if err == nil {
		return nil
	}
	final := isDamage(err) || errors.Is(err, errRootGoes) || errors.Is(err, ErrDeleted)
	// Also when the caller has given up: what a collector is removing must not look alive.
	if r.broken.undeleteNoPutBack {
		err = fmt.Errorf("undelete %s: %w", name.Group, err)
	} else if again := r.Delete(context.WithoutCancel(ctx), name); again != nil {
		err = errors.Join(err, again)
	}
	if !final {
		return fmt.Errorf("undelete %s: %w", name.Group, err)
	}
	return fmt.Errorf("undelete %s: %w: %w", name.Group, ErrTooLate, err)
}

var errRootGoes = errors.New("a collector is removing it, or has")

// lookAtRoot checks that all manifests of the root are still there and that every
// chunk they need will stay.
func (r *Repo) lookAtRoot(ctx context.Context, name Name, before []Item) error {
	gc, err := r.lookGC(ctx)
	if err != nil {
		return err
	}
	if gc.roots[name.root()] {
		return errRootGoes
	}
	found := false
	for _, item := range before {
		// Checkpoints of attempts that broke off are nothing that could be missing.
		if !item.Complete() || name.Class != Backup && item.Name.Item != name.Item {
			continue
		}
		found = true
		m, err := r.readManifest(ctx, item.Name.Key())
		if err != nil {
			return err
		}
		packs, err := r.packsOf(ctx, m)
		if err != nil {
			return err
		}
		if err := r.look(ctx, item.Name, m, packs); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%w: no manifest is there", errRootGoes)
	}
	return nil
}
