package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gpdedup/gpdedup/digest"
)

// txRows and txBytes are how many rows, and bytes of values, go into one bbolt
// transaction. All of them are in memory until it commits, the rows at a few hundred
// bytes each, the bytes twice.
const (
	txRows  = 20_000
	txBytes = 4 << 20
)

// writer fills a new generation under a temporary name. Keys come in rising order
// within each bucket, so bbolt only ever appends full pages.
type writer struct {
	db      *bbolt.DB
	path    string
	sum     summary
	tx      *bbolt.Tx
	bucket  *bbolt.Bucket // in tx, the one called name
	name    string
	rows    int    // in tx
	arena   []byte // the values of tx: bbolt does not copy them
	lastKey [keySize]byte
	group   []byte // rows of the bucket features that are not put yet
	groupID uint32
}

func newWriter(path string, salt uint32) (w *writer, err error) {
	defer catchPanic(&err)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: time.Second, // nobody else knows the name; never wait for ever
		// Nothing is worth a sync before finish: until the rename a crash only
		// leaves a temporary file. Nor is the file ever opened for writing again,
		// so it needs no list of free pages and no room to grow.
		NoSync:         true,
		NoGrowSync:     true,
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		NoStatistics:   true,
	})
	if err != nil {
		return nil, fmt.Errorf("create generation: %w", err)
	}
	w = &writer{db: db, path: path, sum: summary{salt: salt}}
	version := binary.LittleEndian.AppendUint32(nil, generationVersion)
	err = db.Update(func(tx *bbolt.Tx) error {
		var errs []error
		for _, name := range []string{chunksBucket, packsBucket, fragmentsBucket, featuresBucket, filterBucket, metaBucket} {
			_, err := tx.CreateBucket([]byte(name))
			errs = append(errs, err)
		}
		errs = append(errs, tx.Bucket([]byte(metaBucket)).Put([]byte(versionKey), version))
		return errors.Join(errs...)
	})
	if err != nil {
		w.abort()
		return nil, fmt.Errorf("create generation: %w", err)
	}
	return w, nil
}

// put adds a row to the named bucket. It copies key and value.
func (w *writer) put(bucket string, key []byte, parts ...[]byte) (err error) {
	if w.tx == nil {
		if w.tx, err = w.db.Begin(true); err != nil {
			return err
		}
		w.bucket, w.rows, w.arena = nil, 0, w.arena[:0]
	}
	if w.bucket == nil || w.name != bucket {
		w.bucket, w.name = w.tx.Bucket([]byte(bucket)), bucket
		w.bucket.FillPercent = 1 // nothing is ever inserted between
	}
	from := len(w.arena)
	for _, p := range parts {
		w.arena = append(w.arena, p...)
	}
	if err := w.bucket.Put(key, w.arena[from:len(w.arena):len(w.arena)]); err != nil {
		return err
	}
	if w.rows++; w.rows >= txRows || len(w.arena) >= txBytes {
		return w.commit()
	}
	return nil
}

// commit ends the transaction, and with it the bucket that put works on.
func (w *writer) commit() (err error) {
	if w.tx == nil {
		return nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catchPanic(&err)
	err = w.tx.Commit()
	w.tx, w.bucket = nil, nil
	return err
}

// addPack adds the next pack.
func (w *writer) addPack(id []byte, fragment uint32) error {
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], w.sum.packRows)
	var buf [packRow + checksumLen]byte
	value := binary.LittleEndian.AppendUint32(append(buf[:0], id...), fragment)
	w.sum.packRows++
	return w.put(packsBucket, key[:], sealRow(w.sum.salt, key[:], value))
}

// addChunk adds the next chunk; ids rise.
func (w *writer) addChunk(rec record) error {
	key := rec[:keySize]
	if w.sum.entries > 0 && bytes.Equal(key, w.lastKey[:]) {
		// Two chunks agree in half of their names. The first has the short key;
		// the others follow it under their whole names, which sort behind it.
		key = rec[:digest.Size]
	}
	copy(w.lastKey[:], rec)
	w.sum.entries++
	var sum [checksumLen]byte
	binary.LittleEndian.PutUint32(sum[:], checksum(w.sum.salt, rec))
	return w.put(chunksBucket, key, rec[keySize:], sum[:])
}

// addFragment adds the next fragment; ids rise.
func (w *writer) addFragment(f fragmentEntry) error {
	var buf [fragmentRow + checksumLen]byte
	value := binary.LittleEndian.AppendUint32(buf[:0], f.ordinal)
	value = binary.LittleEndian.AppendUint32(value, f.entries)
	value = binary.LittleEndian.AppendUint32(value, f.similar)
	flags := byte(0)
	if f.leftOut {
		flags |= flagLeftOut
	}
	w.sum.fragments++
	w.sum.span = max(w.sum.span, f.ordinal+1)
	return w.put(fragmentsBucket, f.id[:], sealRow(w.sum.salt, f.id[:], append(value, flags)))
}

// addFeature adds the next number of the bucket features; numbers rise.
func (w *writer) addFeature(number uint64, key []byte) error {
	if id := featureGroup(number, w.sum.featureBits); id != w.groupID {
		if err := w.endGroup(); err != nil {
			return err
		}
		w.groupID = id
	}
	if len(w.group) == maxGroupRows*featureRowSize {
		return nil
	}
	w.sum.featureRows++
	w.group = appendFeatureRow(w.group, w.sum.salt, number, key)
	return nil
}

// endGroup puts the group that addFeature has collected.
func (w *writer) endGroup() error {
	if len(w.group) == 0 {
		return nil
	}
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], w.groupID)
	err := w.put(featuresBucket, key[:], w.group)
	w.group = w.group[:0]
	return err
}

// finish writes the summary and makes the file durable. Only then may it get its
// name: a name without the content behind it would be a damaged generation after a
// power failure, for every process of the host.
func (w *writer) finish() error {
	if err := w.commit(); err != nil {
		return err
	}
	if err := w.put(metaBucket, []byte(completeKey), w.sum.encode()); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	if err := w.db.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	err := w.db.Close()
	w.db = nil
	return err
}

// abort gives up; the temporary file goes.
func (w *writer) abort() {
	if w.tx != nil {
		_ = w.tx.Rollback()
	}
	if w.db != nil {
		_ = w.db.Close()
	}
	_ = os.Remove(w.path) // else the next builder does
}
