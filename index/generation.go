package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/digest"
)

// generationVersion is what this program writes and reads. Another one is not an
// error: the cache is rebuilt.
const generationVersion = 4

// errVersion: the generation is sound, but another gpdedup's. Readers pass over it
// and the next builder replaces it.
var errVersion = errors.New("generation has format version")

// Names in a generation.
const (
	chunksBucket    = "chunks"
	packsBucket     = "packs"
	fragmentsBucket = "fragments"
	featuresBucket  = "features"
	filterBucket    = "filter"
	metaBucket      = "meta"
	versionKey      = "version"
	completeKey     = "complete"
)

// summary is the row "complete", the last that a builder writes: a file without it
// is not finished. bbolt falls back to the state before the last transaction when
// the newer of its two headers is damaged; that state has no such row.
type summary struct {
	salt      uint32 // in every checksum: rows of other files do not pass
	entries   uint64
	packRows  uint32
	fragments uint32
	span      uint32 // fragment ordinals are below it

	featureRows  uint64
	featureBits  uint8 // high bits of a number that name its group
	filterBlocks uint32
}

const summarySize = 4 + 8 + 4 + 4 + 4 + 8 + 1 + 4

func (s *summary) encode() []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, summarySize+checksumLen), s.salt)
	b = binary.LittleEndian.AppendUint64(b, s.entries)
	b = binary.LittleEndian.AppendUint32(b, s.packRows)
	b = binary.LittleEndian.AppendUint32(b, s.fragments)
	b = binary.LittleEndian.AppendUint32(b, s.span)
	b = binary.LittleEndian.AppendUint64(b, s.featureRows)
	b = append(b, s.featureBits)
	b = binary.LittleEndian.AppendUint32(b, s.filterBlocks)
	return sealRow(s.salt, []byte(completeKey), b)
}

func decodeSummary(row []byte) (s summary, err error) {
	if len(row) != summarySize+checksumLen {
		return s, fmt.Errorf("%w: summary of %d bytes", errDamaged, len(row))
	}
	s.salt = binary.LittleEndian.Uint32(row)
	b, err := openRow(s.salt, []byte(completeKey), row)
	if err != nil {
		return s, err
	}
	s.entries = binary.LittleEndian.Uint64(b[4:])
	s.packRows = binary.LittleEndian.Uint32(b[12:])
	s.fragments = binary.LittleEndian.Uint32(b[16:])
	s.span = binary.LittleEndian.Uint32(b[20:])
	s.featureRows = binary.LittleEndian.Uint64(b[24:])
	s.featureBits = b[32]
	s.filterBlocks = binary.LittleEndian.Uint32(b[33:])
	return s, nil
}

// generation is an open generation file. Its methods are safe for concurrent use.
type generation struct {
	summary
	path     string
	number   uint64
	tree     tree
	chunks   page
	packs    page
	frags    page
	features page
	filter   [][]byte    // segments, in the mapping
	listed   []uint32    // by fragment ordinal: position in the View's listing plus one; 0 is dead
	broken   atomic.Bool // a reader found damage: a miss from then on
}

// openGeneration maps the file. Errors that wrap errDamaged mean that the file is
// of no use to anybody; others (no such file, no permission, too many open files)
// are the host's.
func openGeneration(path string, number uint64) (_ *generation, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() < int64(4*os.Getpagesize()) {
		return nil, fmt.Errorf("%w: file of %d bytes", errDamaged, info.Size())
	}
	header, err := readHeader(path, f)
	if err != nil {
		return nil, err
	}
	if header.size > info.Size() {
		return nil, fmt.Errorf("%w: %d bytes of %d", errDamaged, info.Size(), header.size)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	// Chunk ids are random: reading around each page on a cold disk, some megabytes where
	// the host is set up for streams, would take longer than what is looked for, and evict
	// others' pages. Failing to say so costs nothing. Whoever reads a bucket from one end
	// to the other asks for what comes next by itself: see walk.
	_ = unix.Madvise(data, unix.MADV_RANDOM)
	g := &generation{path: path, number: number, tree: tree{data: data, pageSize: header.pageSize}}
	if err := g.readRoots(header.root); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// header is what bbolt finds in the two meta pages of a file.
type header struct {
	pageSize int
	root     uint64
	size     int64
}

// readHeader has bbolt check the file. It takes its own descriptor of the same open
// file, so nobody can exchange the file between here and the mapping. bbolt does
// not descend into any page here.
func readHeader(path string, f *os.File) (h header, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchPanic(&err)
	db, err := bbolt.Open(path, 0, &bbolt.Options{
		ReadOnly: true,
		// Nobody locks a finished generation exclusively, and nobody may wait: zero
		// would wait for ever, this tries once.
		Timeout:      time.Millisecond,
		NoStatistics: true,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) {
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			return os.NewFile(uintptr(fd), path), nil
		},
	})
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) && errno != syscall.EIO || errors.Is(err, berrors.ErrTimeout) {
			return h, fmt.Errorf("open %s: %w", path, err)
		}
		return h, fmt.Errorf("%w: %v", errDamaged, err)
	}
	defer func() { _ = db.Close() }() // of a read: nothing to lose
	tx, err := db.Begin(false)
	if err != nil {
		return h, fmt.Errorf("%w: %v", errDamaged, err)
	}
	defer func() { _ = tx.Rollback() }() // of a read: nothing to undo
	h.pageSize = db.Info().PageSize
	h.root = uint64(tx.Cursor().Bucket().Root())
	h.size = tx.Size()
	if h.pageSize < 512 || h.pageSize > 1<<20 {
		return h, fmt.Errorf("%w: pages of %d bytes", errDamaged, h.pageSize)
	}
	return h, nil
}

func (g *generation) readRoots(root uint64) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchFault(&err)
	top, err := g.tree.page(root)
	if err != nil {
		return err
	}
	meta, err := g.tree.bucket(top, metaBucket)
	if err != nil {
		return err
	}
	version, _, found, err := g.tree.get(meta, []byte(versionKey))
	if err != nil || !found || len(version) != 4 {
		return errors.Join(fmt.Errorf("%w: no version", errDamaged), err)
	}
	if v := binary.LittleEndian.Uint32(version); v != generationVersion {
		return fmt.Errorf("%w %d", errVersion, v)
	}
	row, _, _, err := g.tree.get(meta, []byte(completeKey))
	if err != nil {
		return err
	}
	if g.summary, err = decodeSummary(row); err != nil {
		return err
	}
	size := uint64(len(g.tree.data))
	if g.entries*recordSize > size || uint64(g.packRows)*packRow > size || uint64(g.fragments)*fragmentRow > size ||
		g.featureRows*featureRowSize > size || g.featureBits > maxFeatureBits || uint64(g.filterBlocks)*filterBlock > size {
		return fmt.Errorf("%w: %d entries do not fit in %d bytes", errDamaged, g.entries, size)
	}
	if g.chunks, err = g.tree.bucket(top, chunksBucket); err != nil {
		return err
	}
	if g.packs, err = g.tree.bucket(top, packsBucket); err != nil {
		return err
	}
	if g.frags, err = g.tree.bucket(top, fragmentsBucket); err != nil {
		return err
	}
	if g.features, err = g.tree.bucket(top, featuresBucket); err != nil {
		return err
	}
	return g.readFilter(top)
}

func (g *generation) name() string { return filepath.Base(g.path) }

func (g *generation) size() int64 { return int64(len(g.tree.data)) }

func (g *generation) close() {
	if g.tree.data != nil {
		_ = unix.Munmap(g.tree.data) // fails only for a mapping that is none
		g.tree.data = nil
	}
}

// fragmentEntry is a row of the bucket fragments.
type fragmentEntry struct {
	id      digest.ID
	ordinal uint32
	entries uint32
	similar uint32 // entries with features
	leftOut bool
}

// eachFragment calls fn for every fragment that the generation covers, by id.
func (g *generation) eachFragment(fn func(fragmentEntry)) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchFault(&err)
	w := g.tree.walk(g.frags)
	for n := uint32(0); ; n++ {
		key, row, err := w.next()
		if n == g.fragments && errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			row, err = openRow(g.salt, key, row)
		}
		if err != nil {
			return fmt.Errorf("%w: fragment %d of %d: %v", errDamaged, n, g.fragments, err)
		}
		if len(key) != digest.Size || len(row) != fragmentRow {
			return fmt.Errorf("%w: fragment row of %d bytes", errDamaged, len(row))
		}
		e := fragmentEntry{
			ordinal: binary.LittleEndian.Uint32(row),
			entries: binary.LittleEndian.Uint32(row[4:]),
			similar: binary.LittleEndian.Uint32(row[8:]),
			leftOut: row[12]&flagLeftOut != 0,
		}
		copy(e.id[:], key)
		if e.ordinal >= g.span {
			return fmt.Errorf("%w: fragment ordinal %d of %d", errDamaged, e.ordinal, g.span)
		}
		fn(e)
	}
}

// pack returns the id and the fragment of the pack with this ordinal.
func (g *generation) pack(ordinal uint32, s *scratch) (id digest.ID, fragment uint32, found bool, err error) {
	binary.BigEndian.PutUint32(s.key[:], ordinal)
	row, _, found, err := g.tree.get(g.packs, s.key[:])
	if err != nil || !found {
		return id, 0, false, err
	}
	return g.openPack(s.key[:], row)
}

func (g *generation) openPack(key, row []byte) (id digest.ID, fragment uint32, found bool, err error) {
	row, err = openRow(g.salt, key, row)
	if err != nil {
		return id, 0, false, err
	}
	if len(row) != packRow {
		return id, 0, false, fmt.Errorf("%w: pack row of %d bytes", errDamaged, len(row))
	}
	copy(id[:], row)
	fragment = binary.LittleEndian.Uint32(row[digest.Size:])
	if fragment >= g.span {
		return id, 0, false, fmt.Errorf("%w: fragment ordinal %d of %d", errDamaged, fragment, g.span)
	}
	return id, fragment, true, nil
}

// scratch is what find works in; its callers keep one for many calls.
type scratch struct {
	buf   [maxRecord]byte
	key   [4]byte
	row   [featureRowSize]byte
	found [superFeatures]likely
	best  likely
}

// find looks the chunk up. The record lies in s, nothing in the mapping.
func (g *generation) find(id *digest.ID, s *scratch) (rec record, pack digest.ID, found bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchFault(&err)
	row, _, found, err := g.tree.get(g.chunks, id[:keySize])
	if err != nil || !found {
		return nil, pack, false, err
	}
	rec, err = g.openRecord(id[:keySize], row, &s.buf)
	if err != nil {
		return nil, pack, false, err
	}
	if digest.ID(rec.id()) != *id {
		// Another chunk has the short key: this one would be under its long one.
		if row, _, found, err = g.tree.get(g.chunks, id[:]); err != nil || !found {
			return nil, pack, false, err
		}
		if rec, err = g.openRecord(id[:], row, &s.buf); err != nil {
			return nil, pack, false, err
		}
		if digest.ID(rec.id()) != *id {
			return nil, pack, false, fmt.Errorf("%w: a chunk under another's name", errDamaged)
		}
	}
	pack, fragment, found, err := g.pack(rec.pack(), s)
	if err != nil {
		return nil, pack, false, err
	}
	if !found {
		return nil, pack, false, fmt.Errorf("%w: pack %d is missing", errDamaged, rec.pack())
	}
	_, live := g.position(fragment)
	return rec, pack, live, nil
}

// openRecord copies a row of the bucket chunks into buf, verifies it, and returns
// it as a record. It copies first: what was verified cannot change any more.
func (g *generation) openRecord(key, row []byte, buf *[maxRecord]byte) (record, error) {
	n := keySize + len(row) - checksumLen
	if n < recordSize || n > maxRecord || len(key) < keySize {
		return nil, fmt.Errorf("%w: chunk row of %d bytes", errDamaged, len(row))
	}
	rec := append(append(buf[:0], key[:keySize]...), row[:len(row)-checksumLen]...)
	want := binary.LittleEndian.Uint32(row[len(row)-checksumLen:])
	if checksum(g.salt, rec) != want || recordLen(rec) != n {
		return nil, fmt.Errorf("%w: checksum mismatch", errDamaged)
	}
	return record(rec), nil
}

// position says where a fragment is in the View's listing; a dead one is not.
func (g *generation) position(fragment uint32) (at int, live bool) {
	if uint64(fragment) >= uint64(len(g.listed)) {
		return 0, false
	}
	at = int(g.listed[fragment]) - 1
	return at, at >= 0
}
