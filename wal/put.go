package wal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
)

// Put stores a packed file, and returns when it is durable. Of several who store the
// same file the first wins; for the others it is a success if they had the same bytes,
// and a *ConflictError if not. Stored is how many bytes the object takes.
func (a *Archive) Put(ctx context.Context, epoch SystemID, p *Packed) (stored int64, err error) {
	if p.Info.System != epoch {
		return 0, &ForeignError{File: p.Info.Name, Got: p.Info.System, Want: epoch}
	}
	key := a.key(epoch, p.Info.Name)
	object, err := sealFile(a.keys, key, p)
	if err != nil {
		return 0, err
	}
	// What is put must open again: nobody looks at it before it is needed.
	if _, _, err := openInfo(a.keys, key, p.Info.Name, object); err != nil {
		return 0, fmt.Errorf("seal %s: what was sealed does not open: %w", p.Info.Name, err)
	}
	err = a.st.Put(ctx, key, object)
	if errors.Is(err, storage.ErrExists) {
		return a.confirm(ctx, epoch, p)
	}
	if err != nil {
		return 0, fmt.Errorf("store %s: %w", p.Info.Name, err)
	}
	return int64(len(object)), nil
}

// confirm decides what an object that was there before means, and makes sure that it
// will stay.
func (a *Archive) confirm(ctx context.Context, epoch SystemID, p *Packed) (int64, error) {
	name := p.Info.Name
	key := a.key(epoch, name)
	there, err := a.Stat(ctx, epoch, name)
	if err != nil {
		return 0, fmt.Errorf("store %s: an object is there already: %w", name, err)
	}
	if !there.Same(&p.Info) {
		return 0, &ConflictError{Stored: *there, Incoming: p.Info}
	}
	// Whoever put it may have crashed, or may be about to, before it was durable, and
	// our caller is going to throw the file away. To put the same bytes once more is
	// what makes an object durable whoever wrote it; and to read them shows that they
	// are all there.
	object, err := a.st.Get(ctx, key, MaxObject)
	if err == nil {
		_, err = a.opener.open(a.keys, key, name, object, io.Discard)
	}
	if err == nil {
		err = a.st.Put(ctx, key, object)
	}
	if err != nil {
		if errors.Is(err, repo.ErrDamaged) {
			err = a.explain(key, epoch, name, err)
		}
		return 0, fmt.Errorf("store %s: an object is there already: %w", name, err)
	}
	return int64(len(object)), nil
}
