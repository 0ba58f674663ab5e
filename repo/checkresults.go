package repo

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
)

// checkedPrefix is where checks leave which packs they read. Each check puts an object of
// its own, under a name that is never used twice, so any number of them run side by side.
// Now and then one puts what several say into one object, and then removes those.
const checkedPrefix = "checks/"

const checkedVersion = 1

// packResult is what came of the last reading of a pack.
type packResult struct {
	at    time.Time
	whole bool // and not damaged
}

// checkResults are what earlier checks left, and what this one adds.
type checkResults struct {
	packs map[digest.ID]packResult
	fresh map[digest.ID]packResult
	keys  []string // of the objects that were read
	bad   []string // of those that cannot be read: they are worth nothing
}

// read returns when a pack was last read and found to be whole. One that was found to be
// damaged counts as not read.
func (c *checkResults) read(id digest.ID) (time.Time, bool) {
	p, ok := c.packs[id]
	if !ok || !p.whole {
		return time.Time{}, false
	}
	return p.at, true
}

func (c *checkResults) add(id digest.ID, at time.Time, whole bool) {
	c.fresh[id] = packResult{at, whole}
}

// readResults reads what earlier checks left. What cannot be read is no loss but time.
func (r *Repo) readResults(ctx context.Context) (*checkResults, error) {
	c := &checkResults{packs: make(map[digest.ID]packResult), fresh: make(map[digest.ID]packResult)}
	var found []storage.Info
	err := r.st.List(ctx, checkedPrefix, func(info storage.Info) error {
		found = append(found, info)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list results of checks: %w", err)
	}
	for _, info := range found {
		object, err := r.get(ctx, info.Key, seal.MaxDocument)
		var payload []byte
		if err == nil {
			payload, err = r.keys.OpenDocument(seal.Checked, info.Key, object, r.dec)
		}
		if err == nil {
			err = c.decode(payload, info.ModTime)
		}
		switch {
		case err == nil:
			c.keys = append(c.keys, info.Key)
		case isNotExist(err), errors.Is(err, ErrNewer): // merged, or not ours to judge
		case isDamage(err):
			c.bad = append(c.bad, info.Key)
		default:
			return nil, fmt.Errorf("read results of checks: %w", err)
		}
	}
	return c, nil
}

// A list of checked packs: version u8 ‖ n u32 ‖ n × ( pack id [32] ‖ seconds since 1970
// u64 ‖ state u8: 0 whole, 1 damaged ).
const checkedEntry = digest.Size + 8 + 1

// decode adds the entries of a list. No entry is newer than the object that has it: a
// clock that is wrong does not keep a pack from being read again.
func (c *checkResults) decode(data []byte, put time.Time) error {
	if len(data) < 5 {
		return damaged(errCutShort)
	}
	if data[0] != checkedVersion {
		return fmt.Errorf("list of version %d: %w", data[0], ErrNewer)
	}
	n := uint64(binary.LittleEndian.Uint32(data[1:]))
	data = data[5:]
	if uint64(len(data)) != n*checkedEntry {
		return damaged(errCutShort)
	}
	for ; len(data) > 0; data = data[checkedEntry:] {
		id := digest.ID(data[:digest.Size])
		at := time.Unix(int64(min(binary.LittleEndian.Uint64(data[digest.Size:]), 1<<40)), 0)
		if at.After(put) {
			at = put
		}
		whole := data[checkedEntry-1] == 0
		switch old, known := c.packs[id]; {
		case !known || at.After(old.at):
			c.packs[id] = packResult{at, whole}
		case at.Equal(old.at): // in doubt it is read again
			c.packs[id] = packResult{at, whole && old.whole}
		}
	}
	return nil
}

func encodeResults(ids []digest.ID, packs map[digest.ID]packResult) []byte {
	out := []byte{checkedVersion}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(ids)))
	for _, id := range ids {
		p := packs[id]
		out = append(out, id[:]...)
		out = binary.LittleEndian.AppendUint64(out, uint64(max(p.at.Unix(), 0)))
		state := byte(1)
		if p.whole {
			state = 0
		}
		out = append(out, state)
	}
	return out
}

// manyResults is how many objects are left before one merges them.
const manyResults = 8

// record puts what this check read into the repository. That it cannot is worth a
// warning, and no more: whoever may only read checks too.
func (c *checker) record(ctx context.Context) error {
	r := c.results
	for id, p := range r.fresh {
		r.packs[id] = p
	}
	c.report.NeverRead, c.report.OldestRead = 0, nil
	for i := range c.cat.Packs {
		at, read := r.read(c.cat.Packs[i].ID)
		switch {
		case c.gone[i]:
		case !read:
			c.report.NeverRead++
		case c.report.OldestRead == nil || at.Before(*c.report.OldestRead):
			at = at.UTC()
			c.report.OldestRead = &at
		}
	}
	if !c.o.Record || len(r.fresh) == 0 {
		return nil
	}
	merge := len(r.keys)+1 > manyResults || len(r.bad) > 0
	source := r.fresh
	if merge {
		source = r.packs
	}
	var ids []digest.ID
	for id := range source {
		if _, there := c.cat.Lookup(id); there || !merge {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b digest.ID) int { return strings.Compare(string(a[:]), string(b[:])) })
	err := c.r.putResults(ctx, ids, source)
	// What is removed is in what was just put. Another check may do the same: then it is
	// there twice.
	if err == nil && merge {
		for _, key := range append(r.keys, r.bad...) {
			if err = c.r.st.Delete(ctx, key); err != nil {
				break
			}
		}
	}
	if err != nil && ctx.Err() == nil {
		c.warn("what was read is not recorded for later checks: %v", err)
		return nil
	}
	r.fresh = make(map[digest.ID]packResult)
	return err
}

func (r *Repo) putResults(ctx context.Context, ids []digest.ID, packs map[digest.ID]packResult) error {
	for part := range slices.Chunk(ids, maxListIDs) {
		name := newID()
		key := checkedPrefix + hex.EncodeToString(name[:16])
		object, err := r.keys.SealDocument(seal.Checked, key, encodeResults(part, packs), r.enc)
		if err != nil {
			return err
		}
		if err := r.st.Put(ctx, key, object); err != nil {
			return err
		}
	}
	return nil
}
