package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// Head returns what the manifest of a stream says of it without its chunks, for whoever
// counts: one request, and no memory for the list. A stream that is deleted and not yet
// removed has one too. It is ErrNoStream if there is none.
//
// That the list of chunks can be read is not found out.
func (r *Repo) Head(ctx context.Context, name Name) (manifest.Head, error) {
	key := name.Key()
	object, err := r.get(ctx, key, seal.MaxDocument)
	if errors.Is(err, storage.ErrNotExist) {
		return manifest.Head{}, fmt.Errorf("%s: %w (namespace %s)", name, ErrNoStream, name.Namespace)
	}
	if err != nil {
		return manifest.Head{}, err
	}
	head, err := r.openHead(key, object)
	if err != nil {
		return manifest.Head{}, fmt.Errorf("%s: %w", key, err)
	}
	return head, nil
}

func (r *Repo) openHead(key string, object []byte) (manifest.Head, error) {
	payload, err := r.keys.OpenDocument(seal.Manifest, key, object, r.dec)
	if err != nil {
		return manifest.Head{}, err
	}
	head, err := manifest.DecodeHead(payload)
	if err != nil {
		return manifest.Head{}, damaged(err)
	}
	// Checkpoints are no streams.
	if head.Kind != manifest.Stream {
		return manifest.Head{}, fmt.Errorf("%w: manifest of kind %d under this name", ErrDamaged, head.Kind)
	}
	return head, nil
}
