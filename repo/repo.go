package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/pack"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// Options say how to use a repository. The zero value, with a Secret where the
// repository is encrypted, is fine.
type Options struct {
	Secret      Secret
	CacheDir    string         // host-local cache; empty: none
	Compression compress.Level // empty: compress.Fastest
	Delta       DeltaMode      // empty: DeltaAuto
	Concurrency int            // cores to use; 0: all, at most 8
	Version     string         // of the program, recorded in manifests
	Log         *slog.Logger   // nil: silent
	Limits      Limits

	// Reuse lets a repository on a storage where requests cost be opened with what
	// an earlier process on this host read, up to an hour ago: no request at all.
	// Whoever sets it must write with Write and read with Stream and Restore, which
	// notice what is out of date.
	Reuse bool
}

// Limits are the sizes that decide how streams are laid out. A zero field takes
// its default. They may differ between writers of one repository.
type Limits struct {
	Inline          int           // streams whose payload is at most this long go into their manifest; 16 KiB
	SmallPack       int           // a stream of one pack of at most this many bytes writes no fragment; 4 MiB
	PackMin         int           // pack target at the beginning of a stream; 4 MiB
	PackMax         int           // and far into it; 32 MiB
	DirectRows      int           // a longer chunk list is cut into leaf lists; 1024
	LeafMean        int           // rows of a leaf list, a power of two; 1024
	FragmentEntries int           // entries of an index fragment; 32768
	CheckpointBytes int64         // 64 GiB
	CheckpointTime  time.Duration // 1 h
	ReadWindow      int64         // bytes in flight while restoring; 32 MiB
}

func (l Limits) withDefaults() Limits {
	fill := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	fill(&l.Inline, 16<<10)
	fill(&l.SmallPack, 4<<20)
	fill(&l.PackMin, 4<<20)
	fill(&l.PackMax, 32<<20)
	fill(&l.DirectRows, 1024)
	fill(&l.LeafMean, 1024)
	fill(&l.FragmentEntries, 32768)
	if l.CheckpointBytes == 0 {
		l.CheckpointBytes = 64 << 30
	}
	if l.CheckpointTime == 0 {
		l.CheckpointTime = time.Hour
	}
	if l.ReadWindow == 0 {
		l.ReadWindow = 32 << 20
	}
	return l
}

// Repo is an open repository. It is safe for concurrent use.
type Repo struct {
	st     storage.Storage
	config *Config
	keys   *seal.Keys
	cred   *credential  // nil: no encryption
	cache  *index.Cache // nil: none

	cacheDir string // this user's own; empty: none
	opts     Options
	log      *slog.Logger
	enc      *compress.Encoder
	dec      *compress.Decoder
	buffers  buffers
	broken   broken                                           // rules left out, by tests
	pause    func(ctx context.Context, d time.Duration) error // in the place of a timer, by tests

	mu           sync.Mutex
	lists        map[string]*gcList // condemned and lost lists already read; they are write-once
	opened       *opening           // nil: nothing of what is in use may be out of date
	configObject []byte
}

// Config returns what the repository's config says.
func (r *Repo) Config() Config { return *r.config }

// Storage returns where the repository is kept.
func (r *Repo) Storage() storage.Storage { return r.st }

// InitOptions say what repository to make.
type InitOptions struct {
	Secret    Secret // zero: no encryption
	ChunkSize int    // mean, in bytes; 0: DefaultChunkSize
	Now       time.Time
	// ChunkerFrom, if not nil, is a repository whose chunk names, cut points and chunk
	// sizes the new one shares, so that chunks can be copied between them as they are.
	// Either both are encrypted or neither is.
	ChunkerFrom *Repo
	Target      *Target // what a probe found of the storage; nil: a directory
	// Pause waits before config is read again where the storage cannot keep two of
	// them apart; nil is a timer.
	Pause func(ctx context.Context, d time.Duration) error

	ring *seal.Ring // nil: a fresh one
}

// Init makes a repository in an empty storage. The config is put last: until it
// is there, nothing is a repository, and a second Init may try again.
func Init(ctx context.Context, st storage.Storage, o InitOptions) (*Config, error) {
	if _, err := st.Stat(ctx, configKey); err == nil {
		return nil, fmt.Errorf("init repository: %w: %s holds a repository already", ErrUsage, st.Location())
	} else if !errors.Is(err, storage.ErrNotExist) {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	chunks, ring, depth, err := o.chunker()
	if err != nil {
		return nil, err
	}
	c := &Config{ID: newID(), Created: o.Now.UTC().Truncate(time.Second), Encryption: encryptionAES, Chunks: chunks, DeltaDepth: depth, Target: o.Target}
	if o.Secret.IsZero() {
		c.Encryption = encryptionNone
	}
	c.IDHex = c.ID.String()
	name, object, err := firstSlot(ctx, c, ring, o.Secret)
	if err != nil {
		return nil, err
	}
	if err := st.Put(ctx, slotPrefix+name, object); err != nil {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	if object, err = c.marshal(seal.NewKeys(c.ID, ring, c.Encrypted())); err != nil {
		return nil, err
	}
	if err := putConfig(ctx, st, c, object, o.Pause); err != nil {
		// So that the place is empty again.
		_ = st.Delete(context.WithoutCancel(ctx), slotPrefix+name)
		if c.Target != nil {
			_ = st.Delete(context.WithoutCancel(ctx), markKey(c.ID))
		}
		return nil, fmt.Errorf("init repository: %w", err)
	}
	return c, nil
}

// firstSlot returns the name and the object of the slot that Init puts.
func firstSlot(ctx context.Context, c *Config, ring *seal.Ring, secret Secret) (string, []byte, error) {
	name, s := plainSlot, plainRing(ring, c.Created)
	if !secret.IsZero() {
		cred, err := secret.credential(ctx)
		if err != nil {
			return "", nil, err
		}
		if name, s, err = newSlot(c.ID, ring, &cred, secret.slotKind(), c.Created); err != nil {
			return "", nil, err
		}
	}
	object, err := encodeKeyObject(s)
	return name, object, err
}

// chunker returns where the new repository cuts, its key ring, and how long its
// chains of bases become.
func (o InitOptions) chunker() (Chunks, *seal.Ring, uint8, error) {
	if from := o.ChunkerFrom; from != nil {
		if o.ChunkSize != 0 {
			return Chunks{}, nil, 0, fmt.Errorf("init repository: %w: the size of chunks comes from %s and cannot be another", ErrUsage, from.st.Location())
		}
		// In a repository without encryption the ring lies in the open, and with it
		// what names the chunks of the other one and authenticates its config.
		if from.config.Encrypted() == o.Secret.IsZero() {
			return Chunks{}, nil, 0, WithHint(fmt.Errorf("init repository: %w: of two repositories that share chunk names either both are encrypted or neither is", ErrUsage),
				"make it without sharing; then what is copied to it is cut anew")
		}
		ring, err := from.keys.NewRing()
		return from.config.Chunks, ring, from.config.DeltaDepth, err
	}
	if o.ChunkSize == 0 {
		o.ChunkSize = DefaultChunkSize
	}
	chunks, err := ChunksFor(o.ChunkSize)
	if err != nil || o.ring != nil {
		return chunks, o.ring, defaultDeltaDepth, err
	}
	ring, err := seal.NewRing(nil)
	return chunks, ring, defaultDeltaDepth, err
}

// settleTime is how long init waits where two of them may both have put their config:
// the one that was overtaken sees the other's afterwards.
const settleTime = 5 * time.Second

// putConfig puts what makes a repository of the place.
func putConfig(ctx context.Context, st storage.Storage, c *Config, object []byte, pause func(context.Context, time.Duration) error) error {
	if c.Target != nil {
		// Before config, so that whoever can open the repository finds the mark.
		if err := st.Put(ctx, markKey(c.ID), nil); err != nil {
			return err
		}
	}
	if err := st.Put(ctx, configKey, object); err != nil {
		return err
	}
	if c.Target == nil || c.Target.ConditionalPut {
		return nil
	}
	if pause == nil {
		pause = wait
	}
	if err := pause(ctx, settleTime); err != nil {
		return err
	}
	now, err := st.Get(ctx, configKey, configLimit)
	if err == nil && !bytes.Equal(now, object) {
		err = fmt.Errorf("%w: somebody else made a repository there at the same moment", ErrUsage)
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle waits until whoever put the same name at the same moment is done with that.
func (r *Repo) settle(ctx context.Context) error {
	if r.pause != nil {
		return r.pause(ctx, settleTime)
	}
	return wait(ctx, settleTime)
}

// Open opens the repository for the given operation: "read", "write" or "gc".
func Open(ctx context.Context, st storage.Storage, operation string, o Options) (*Repo, error) {
	if o.Concurrency <= 0 {
		o.Concurrency = min(runtime.GOMAXPROCS(0), 8)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	o.Limits = o.Limits.withDefaults()
	if o.Delta == "" {
		o.Delta = DeltaAuto
	}
	if o.Compression == "" {
		o.Compression = compress.Fastest
	}
	r := &Repo{st: st, opts: o, log: o.Log, lists: make(map[string]*gcList)}
	from := newOpening(st, o, time.Now(), o.Log)
	err := r.open(ctx, from, operation)
	for attempt := 0; attempt < 5 && (from.used || errors.Is(err, errMoved)) && err != nil && ctx.Err() == nil; attempt++ {
		// What this host remembers is out of date, or damaged, or not ours; or what was
		// listed a moment ago is gone.
		from.forget()
		err = r.open(ctx, from, operation)
	}
	if err != nil {
		return nil, err
	}
	if r.config.Encrypted() {
		r.keys.AskForNewer(func() (*seal.Ring, error) { return r.newerRing(ctx, operation) })
	}
	if err := from.keep(time.Now()); err != nil {
		o.Log.Warn("what was read to open the repository will be read again", "error", err)
	}
	r.opened = from
	if traited, ok := storage.As[storage.Traited](st); ok && r.config.Target != nil {
		traited.SetTraits(r.config.Target.traits())
	}
	if r.enc, err = compress.NewEncoder(o.Compression, o.Concurrency); err != nil {
		return nil, err
	}
	if r.dec, err = compress.NewDecoder(o.Concurrency); err != nil {
		return nil, err
	}
	dir := o.CacheDir
	if dir != "" {
		dir = filepath.Join(dir, r.config.IDHex)
	}
	// A cache saves time and duplicates; it is never needed.
	if r.cache, err = index.OpenCache(dir, index.CacheOptions{FirstOffset: pack.FirstOffset}); err != nil {
		r.log.Warn("no index cache", "dir", dir, "error", err)
		dir = ""
	}
	r.cacheDir = dir
	return r, nil
}

// open reads what it takes to open the repository.
func (r *Repo) open(ctx context.Context, st *opening, operation string) error {
	object, err := st.Get(ctx, configKey, configLimit)
	if errors.Is(err, storage.ErrNotExist) {
		return noConfig(ctx, st.Storage)
	}
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	r.configObject = object
	if r.config, err = parseConfig(object); err != nil {
		return fmt.Errorf("open repository: %s: config: %w", st.Location(), err)
	}
	found, err := r.openKeys(ctx, st, operation)
	if err != nil {
		return fmt.Errorf("open repository: %s: %w", st.Location(), err)
	}
	r.keys = seal.NewKeys(r.config.ID, found.ring, r.config.Encrypted())
	if err := authenticate(object, r.keys); err != nil {
		return fmt.Errorf("open repository: %s: %w", st.Location(), err)
	}
	if err := checkFeatures(ctx, st, operation); err != nil {
		return fmt.Errorf("open repository: %s: %w", st.Location(), err)
	}
	return nil
}

// noConfig says what is to be made of a place without a config. A repository that has
// lost it must not be taken for an empty place; nor must the place where a file system
// is to be mounted that holds one.
func noConfig(ctx context.Context, st storage.Storage) error {
	for _, prefix := range []string{packPrefix, slotPrefix, manifestPrefix} {
		if children, err := st.Children(ctx, prefix); err == nil && len(children) > 0 {
			return WithHint(fmt.Errorf("open repository: %s: %w any more: config is missing, but %s is not empty", st.Location(), ErrNotRepository, prefix),
				"put config back from a copy")
		}
	}
	return WithHint(fmt.Errorf("open repository: %s: %w", st.Location(), ErrNotRepository),
		"is the location right, and the file system that it lies on mounted? To make a new one: gpdedup repo init --repo "+st.Location()+" --key-file FILE")
}

// Close releases what the repository holds on this machine.
func (r *Repo) Close() error { return r.st.Close() }

// knownFeatures are what a later version may have added to a repository and this
// one understands, by operation.
var knownFeatures = map[string][]string{"read": {}, "write": {keySetFeature}, "gc": {keySetFeature}}

// checkFeatures refuses the operation when the repository uses a feature that
// whoever performs it must know.
func checkFeatures(ctx context.Context, st storage.Storage, operation string) error {
	known, ok := knownFeatures[operation]
	if !ok {
		return fmt.Errorf("unknown operation %q", operation)
	}
	// First whether there are features at all, which is the same for all operations:
	// there hardly ever are, and then it is all that has to be asked.
	operations, err := st.Children(ctx, featurePrefix)
	if err != nil || !slices.ContainsFunc(operations, func(c storage.Child) bool { return c.Name == operation }) {
		return err
	}
	children, err := st.Children(ctx, featurePrefix+operation+"/")
	if err != nil {
		return err
	}
	for _, c := range children {
		if !slices.Contains(known, c.Name) {
			return fmt.Errorf("the repository uses feature %q: %w", c.Name, ErrNewer)
		}
	}
	return nil
}

func packKey(id digest.ID) string {
	s := id.String()
	return packPrefix + s[:2] + "/" + s
}

func fragmentKey(id digest.ID) string { return indexPrefix + id.String() }
