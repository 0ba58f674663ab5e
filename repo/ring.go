package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// openedRing is what a secret opened.
type openedRing struct {
	ring   *seal.Ring
	slot   string // name
	newest uint16 // epoch of the repository, which the ring may lack
}

// openRing finds the slot that secret opens. cred is the secret, if it was read before.
func openRing(ctx context.Context, st storage.Storage, c *Config, secret Secret, cred *credential) (*openedRing, error) {
	switch {
	case !c.Encrypted():
		if !secret.IsZero() {
			// Else somebody could swap an empty unencrypted repository under a
			// client that means to encrypt.
			return nil, WithHint(fmt.Errorf("%w: a key was given, but the repository is not encrypted", ErrWrongKey),
				"leave the key out if this is the repository you mean")
		}
		s, err := readSlot(ctx, st, plainSlot)
		if errors.Is(err, storage.ErrNotExist) {
			err = cmp.Or(noSlot(ctx, st), fmt.Errorf("%w: %w", ErrDamaged, err))
		}
		if err != nil {
			return nil, err
		}
		ring, err := seal.UnmarshalRing(s.Ring)
		if err != nil {
			return nil, err
		}
		return &openedRing{ring, plainSlot, ring.Newest()}, nil
	case secret.IsZero():
		return nil, WithHint(fmt.Errorf("%w: the repository is encrypted and no key was given", ErrWrongKey),
			"give --key-file, --password-file or --password-command (key_file, password_file, password_command in the YAML)")
	}
	sets, err := keySetsUsed(ctx, st)
	if err != nil {
		return nil, err
	}
	if !sets && !cred.isPassword() {
		name := cred.slotName()
		s, err := readSlot(ctx, st, name)
		if err == nil {
			ring, err := s.open(c.ID, name, cred)
			return &openedRing{ring, name, firstEpoch}, err
		}
		if !errors.Is(err, storage.ErrNotExist) {
			return nil, err
		}
	}
	children, err := st.Children(ctx, slotPrefix)
	if err != nil {
		return nil, err
	}
	set, err := readKeySet(ctx, st, children)
	if err != nil {
		return nil, err
	}
	if set != nil {
		ring, name, err := set.open(c.ID, cred)
		return &openedRing{ring, name, set.Epoch}, wrongKey(err, secret)
	}
	found, err := openLoose(ctx, st, c, cred, children)
	if errors.Is(err, ErrWrongKey) {
		return nil, cmp.Or(noSlot(ctx, st), wrongKey(err, secret))
	}
	return found, err
}

// openLoose tries the slots that are objects of their own.
func openLoose(ctx context.Context, st storage.Storage, c *Config, cred *credential, children []storage.Child) (*openedRing, error) {
	var broken error
	for _, child := range children {
		if cred.isPassword() != strings.HasPrefix(child.Name, passPrefix) || !cred.isPassword() && child.Name != cred.slotName() {
			continue
		}
		s, err := readSlot(ctx, st, child.Name)
		if err == nil {
			var ring *seal.Ring
			if ring, err = s.open(c.ID, child.Name, cred); err == nil {
				return &openedRing{ring, child.Name, firstEpoch}, nil
			}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		// A slot that somebody broke must not keep the other passwords out.
		if !errors.Is(err, ErrWrongKey) {
			broken = errors.Join(broken, err)
		}
	}
	return nil, cmp.Or(broken, ErrWrongKey)
}

// wrongKey says which key it is that opens nothing.
func wrongKey(err error, secret Secret) error {
	switch {
	case !errors.Is(err, ErrWrongKey):
		return err
	case secret.KeyFile != "":
		return fmt.Errorf("%w: key file %s does not belong to this repository", ErrWrongKey, secret.KeyFile)
	}
	return fmt.Errorf("%w: the password opens none of the repository's key slots", ErrWrongKey)
}

// noSlot returns an error if there is no key slot at all: then no key is to blame.
func noSlot(ctx context.Context, st storage.Storage) error {
	children, err := st.Children(ctx, slotPrefix)
	if err != nil || len(children) > 0 {
		return err
	}
	return WithHint(fmt.Errorf("%w: the repository has no key slot (keys/ is empty)", ErrDamaged), "put keys/ back from a copy")
}

// openKeys opens the key ring, and refuses an operation that writes to who holds only
// a retired one: the new ring was made so that nothing more is sealed with that.
func (r *Repo) openKeys(ctx context.Context, st storage.Storage, operation string) (*openedRing, error) {
	if r.cred == nil && r.config.Encrypted() && !r.opts.Secret.IsZero() {
		cred, err := r.opts.Secret.credential(ctx)
		if err != nil {
			return nil, err
		}
		r.cred = &cred
	}
	found, err := openRing(ctx, st, r.config, r.opts.Secret, r.cred)
	if err != nil {
		return nil, err
	}
	if held := found.ring.Newest(); operation != "read" && held < found.newest {
		return nil, WithHint(fmt.Errorf("%w: it opens what is sealed up to key epoch %d, and the repository was rotated to epoch %d without it", ErrWrongKey, held, found.newest),
			"give a key that 'gpdedup repo key list' shows for the newest epoch; this one reads old backups only")
	}
	return found, nil
}

// newerRing reads the key ring again, after an object was met that is sealed with an
// epoch which the ring in use does not hold.
func (r *Repo) newerRing(ctx context.Context, operation string) (*seal.Ring, error) {
	from, now := newOpening(r.st, Options{CacheDir: r.opts.CacheDir}, time.Now(), r.log), time.Now()
	object, err := from.Get(ctx, configKey, configLimit)
	if err == nil && !bytes.Equal(object, r.configObject) {
		err = ErrReplaced
	}
	if err == nil {
		err = checkFeatures(ctx, from, operation)
	}
	if err != nil {
		return nil, newerRingError(err)
	}
	found, err := openRing(ctx, from, r.config, r.opts.Secret, r.cred)
	if err != nil || found.ring.Newest() < found.newest {
		// The secret may have been exchanged, too, where it is kept.
		if cred, readErr := r.opts.Secret.credential(ctx); readErr == nil && cred != *r.cred {
			if again, againErr := openRing(ctx, from, r.config, r.opts.Secret, &cred); againErr == nil {
				found, err = again, nil
			}
		}
	}
	if err != nil {
		return nil, newerRingError(err)
	}
	if err := from.keep(now); err != nil {
		r.log.Warn("what was read to open the repository will be read again", "error", err)
	}
	r.log.Info("the keys were rotated meanwhile", "epoch", found.newest)
	return found.ring, nil
}

// newerRingError says why there is no newer ring. That an object of keys/ is missing
// or damaged must not be taken for that of the object that is to be opened.
func newerRingError(err error) error {
	hint := Hint(err)
	if errors.Is(err, storage.ErrNotExist) || errors.Is(err, ErrDamaged) {
		err = errors.New(err.Error())
	}
	err = fmt.Errorf("read key ring again: %w", err)
	if hint != "" {
		err = WithHint(err, hint)
	}
	return err
}
