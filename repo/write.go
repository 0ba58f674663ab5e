package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// WriteOptions say what is known about a stream beside its bytes.
type WriteOptions struct {
	Origin manifest.Origin
	// Source is what the stream is a copy of; nil: of nothing.
	Source *manifest.Source
	// Wrapping is asked at the end of the stream what was around its bytes, and how
	// many of the last were not inside. nil: nothing was.
	Wrapping func() (as manifest.Wrapping, tail uint64)
	// Previous names streams that probably hold much the same, the likeliest
	// first. The first that exists is used.
	Previous []Name
	// Breaks, if not nil, says where a chunk must end because something begins in the
	// stream that is to be cut from its own start.
	Breaks chunking.Breaks
	// BeforePublish is asked when all data is durable and only the manifest is
	// missing; an error ends the stream without a commit.
	BeforePublish func() error
	// Progress is told, from one goroutine, how many bytes were taken in so far.
	Progress func(bytes int64)
}

// WriteReport says what became of a stream.
type WriteReport struct {
	Length        uint64
	Stats         manifest.Stats
	ManifestBytes int64
	AlreadyStored bool // the same content was stored under the name before
}

// Write stores the bytes of src, to its end, under name. When it returns nil,
// they are durable and every chunk they need is out of a collector's reach. The
// same content under the same name again is a success; other content is a
// *ConflictError; a name whose backup is deleted is ErrDeleted.
func (r *Repo) Write(ctx context.Context, name Name, src io.Reader, o WriteOptions) (WriteReport, error) {
	if err := name.Validate(); err != nil {
		return WriteReport{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Origin.Version == "" {
		o.Origin.Version = r.opts.Version
	}
	w := &writer{r: r, ctx: ctx, name: name, key: name.Key(), o: o, started: time.Now(), packs: newPackSet()}
	report, err := w.run(src)
	if err != nil {
		return report, fmt.Errorf("store %s: %w", name, err)
	}
	return report, nil
}

// writer stores one stream.
type writer struct {
	r       *Repo
	ctx     context.Context //nolint:containedctx // lives as long as Write
	name    Name
	key     string
	o       WriteOptions
	started time.Time
	packs   *packSet
	stats   manifest.Stats
	nameOwn func() error // names the pack of a small stream in a fragment; nil: none
	late    func() error // see broken.writeManifestFirst
}

// inlineTrial is how many bytes of a stream are looked at before anything is
// asked of the storage, to see whether they are all there is. Most streams of a
// backup, the files about it and small tables, end before.
const inlineTrial = 256 << 10

func (w *writer) run(src io.Reader) (WriteReport, error) {
	head, err := io.ReadAll(io.LimitReader(src, inlineTrial+1))
	if err != nil {
		return WriteReport{}, fmt.Errorf("read stream: %w", err)
	}
	if len(head) <= inlineTrial {
		m, ok, err := w.inline(head)
		if err != nil {
			return WriteReport{}, err
		}
		if ok {
			return w.publish(m)
		}
	}
	m, err := w.pipeline(io.MultiReader(bytes.NewReader(head), src))
	if err != nil {
		return WriteReport{}, err
	}
	return w.publish(m)
}

// inline returns the manifest of a stream whose chunks fit into it.
func (w *writer) inline(data []byte) (*manifest.Manifest, bool, error) {
	m := &manifest.Manifest{}
	namer := w.r.keys.Namer()
	identity := manifest.NewIdentity()
	for chunk := range w.r.cuts().Split(data) {
		id := namer.Sum(chunk)
		at := len(m.Inline)
		out, encoding, _, err := w.r.encodeChunk(m.Inline, chunk)
		if err != nil {
			return nil, false, err
		}
		m.Inline = out
		raw := uint32(len(chunk))
		if len(m.Inline) > w.r.opts.Limits.Inline {
			return nil, false, nil
		}
		m.Table.Rows = append(m.Table.Rows, manifest.Chunk{
			ID: id, Raw: raw, Pack: manifest.InlinePack, Offset: uint32(at),
			Stored: uint32(len(m.Inline) - at), Encoding: encoding,
		})
		identity.Add(id, raw)
	}
	m.Length, m.Identity = uint64(len(data)), identity.Sum()
	n := uint64(len(m.Table.Rows))
	w.stats = manifest.Stats{Chunks: n, NewChunks: n, NewRaw: m.Length}
	if w.o.Progress != nil {
		w.o.Progress(int64(len(data)))
	}
	return m, true, nil
}

// cuts returns the repository's chunking parameters.
func (r *Repo) cuts() chunking.Params {
	c := r.config.Chunks
	return chunking.Params{Polynomial: r.keys.Polynomial(), Min: c.Min, Max: c.Max, Bits: c.Bits}
}

// publish puts the manifest, which makes the stream visible, and then looks
// whether everything the stream needs will stay.
func (w *writer) publish(m *manifest.Manifest) (WriteReport, error) {
	w.stats.Milliseconds = time.Since(w.started).Milliseconds()
	m.Kind, m.Origin, m.Stats, m.Source = manifest.Stream, w.o.Origin, w.stats, w.o.Source
	if w.o.Wrapping != nil {
		m.Wrapping, m.Tail = w.o.Wrapping()
	}
	object, err := w.r.sealManifest(w.key, m)
	if err != nil {
		return WriteReport{}, err
	}
	if w.o.BeforePublish != nil {
		if err := w.o.BeforePublish(); err != nil {
			return WriteReport{}, err
		}
	}
	report := WriteReport{Length: m.Length, Stats: m.Stats, ManifestBytes: int64(len(object))}
	// All packs and fragments are acknowledged by now, so whoever sees the
	// manifest can read the stream.
	if w.r.broken.writeLookFirst {
		if err := w.r.look(w.ctx, w.name, m, w.packs.ids()); err != nil {
			return report, err
		}
	}
	err = w.r.st.Put(w.ctx, w.key, object)
	if w.late != nil {
		err = cmp.Or(err, w.late())
	}
	if errors.Is(err, storage.ErrExists) {
		// What is deleted is no conflict: there is nothing left to disagree with.
		if deleted, err := w.r.Deleted(w.ctx, w.name); err != nil || deleted {
			return report, cmp.Or(err, ErrDeleted)
		}
		existing, err := w.r.readManifest(w.ctx, w.key)
		if err != nil {
			return report, fmt.Errorf("compare with what is stored: %w", err)
		}
		if existing.Identity != m.Identity || existing.Length != m.Length ||
			existing.Wrapping != m.Wrapping || existing.Tail != m.Tail {
			return report, &ConflictError{Name: w.name, Stored: existing.Origin, Incoming: m.Origin}
		}
		report.AlreadyStored = true
		if w.r.broken.writeAgainNoLook {
			return report, nil
		}
		// Its writer may have died before its own look, so the look is ours now,
		// and it is about the packs which that manifest names.
		packs, err := w.r.packsOf(w.ctx, existing)
		if err != nil {
			return report, err
		}
		err = w.r.look(w.ctx, w.name, existing, packs)
		if err != nil && isDamage(err) && w.nameOwn != nil && w.ctx.Err() == nil {
			// What the stored stream has lost, this one has just brought, in a pack that
			// no fragment names yet: only what the index has is another location.
			if err := w.nameOwn(); err != nil {
				return report, err
			}
			err = w.r.look(w.ctx, w.name, existing, packs)
		}
		return report, w.meanwhile(err)
	}
	if err != nil {
		return report, err
	}
	if w.r.broken.writeNoLook || w.r.broken.writeLookFirst {
		return report, nil
	}
	return report, w.look(m)
}

// look is the repository's look at what this stream needs.
func (w *writer) look(m *manifest.Manifest) error {
	return w.meanwhile(w.r.look(w.ctx, w.name, m, w.packs.ids()))
}

// meanwhile says of what a look finds gone that it is no damage: it went while the stream
// came, and comes again with it.
func (w *writer) meanwhile(err error) error {
	if err != nil && isDamage(err) && w.ctx.Err() == nil {
		return WithHint(fmt.Errorf("what it has in common with other streams was removed meanwhile: %v", err),
			"store it again: what is missing is then stored anew")
	}
	return err
}

func (r *Repo) sealManifest(key string, m *manifest.Manifest) ([]byte, error) {
	payload, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	object, err := r.keys.SealDocument(seal.Manifest, key, payload, r.enc)
	if err != nil {
		return nil, err
	}
	back, err := r.openManifest(key, object)
	if err != nil || back.Identity != m.Identity {
		return nil, fmt.Errorf("seal manifest: what was sealed does not open: %w", err)
	}
	return object, nil
}

func (r *Repo) openManifest(key string, object []byte) (*manifest.Manifest, error) {
	payload, err := r.keys.OpenDocument(seal.Manifest, key, object, r.dec)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Decode(payload)
	if err != nil {
		return nil, damaged(err)
	}
	// Else a checkpoint under a stream's name would restore as the whole stream.
	if (checkpointSuffix(key) >= 0) != (m.Kind == manifest.Checkpoint) {
		return nil, fmt.Errorf("%w: manifest of kind %d under this name", ErrDamaged, m.Kind)
	}
	return m, nil
}

// damaged makes an error of decoding verified bytes one that wraps ErrDamaged,
// unless a newer version wrote them.
func damaged(err error) error {
	if errors.Is(err, ErrNewer) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// get returns a small object, whole. One that is longer than any may be is damaged.
func (r *Repo) get(ctx context.Context, key string, limit int64) ([]byte, error) {
	object, err := r.st.Get(ctx, key, limit)
	if errors.Is(err, storage.ErrTooLong) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return object, err
}

// readManifest reads the manifest under key.
func (r *Repo) readManifest(ctx context.Context, key string) (*manifest.Manifest, error) {
	object, err := r.get(ctx, key, seal.MaxDocument)
	if err != nil {
		return nil, err
	}
	m, err := r.openManifest(key, object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return m, nil
}
