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

// gcList is a condemned list or a list of lost chunks: names of packs or chunks,
// and, in a condemned list, the roots whose manifests the run will delete.
type gcList struct {
	ids   []digest.ID
	roots []string
}

const gcListVersion = 1

func (l *gcList) marshal() []byte {
	out := []byte{gcListVersion}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(l.ids)))
	for i := range l.ids {
		out = append(out, l.ids[i][:]...)
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(l.roots)))
	for _, r := range l.roots {
		out = binary.LittleEndian.AppendUint16(out, uint16(len(r)))
		out = append(out, r...)
	}
	return out
}

var errCutShort = errors.New("cut short")

func unmarshalGCList(data []byte) (*gcList, error) {
	if len(data) < 5 {
		return nil, errCutShort
	}
	if data[0] != gcListVersion {
		return nil, fmt.Errorf("list of version %d: %w", data[0], ErrNewer)
	}
	n := uint64(binary.LittleEndian.Uint32(data[1:]))
	data = data[5:]
	if n*digest.Size+4 > uint64(len(data)) {
		return nil, errCutShort
	}
	l := &gcList{ids: make([]digest.ID, n)}
	for i := range l.ids {
		copy(l.ids[i][:], data)
		data = data[digest.Size:]
	}
	m := binary.LittleEndian.Uint32(data)
	data = data[4:]
	for range m {
		if len(data) < 2 {
			return nil, errCutShort
		}
		k := int(binary.LittleEndian.Uint16(data))
		if data = data[2:]; k > len(data) {
			return nil, errCutShort
		}
		l.roots = append(l.roots, string(data[:k]))
		data = data[k:]
	}
	if len(data) != 0 {
		return nil, errors.New("bytes too many")
	}
	return l, nil
}

// gcFile is a condemned list or a list of lost chunks as it was listed.
type gcFile struct {
	*gcList
	key  string
	at   time.Time // when it was put, by the storage's clock
	lost bool
}

// gcState is what a listing of gc/ said.
type gcState struct {
	files      []gcFile
	deleted    map[string]time.Time // when each root was deleted, by the storage's clock
	packs      map[digest.ID]bool   // condemned
	roots      map[string]bool      // condemned: their manifests are about to go
	lost       map[digest.ID]bool   // chunks that hits must miss, so that they heal
	tombstones map[string]bool      // roots that are deleted
}

// lookGC lists gc/ and reads the lists in it. The state is that of a listing that
// was complete before lookGC returned.
func (r *Repo) lookGC(ctx context.Context) (*gcState, error) {
	for range 10 {
		g, err := r.tryLookGC(ctx)
		if !errors.Is(err, storage.ErrNotExist) {
			return g, err
		}
		// A list went between the listing and its reading: its packs are gone,
		// and a new listing no longer names it.
	}
	return nil, errors.New("look at gc/: lists keep vanishing")
}

func (r *Repo) tryLookGC(ctx context.Context) (*gcState, error) {
	g := &gcState{
		packs: map[digest.ID]bool{}, roots: map[string]bool{},
		lost: map[digest.ID]bool{}, tombstones: map[string]bool{}, deleted: map[string]time.Time{},
	}
	var marks []string
	err := r.st.List(ctx, gcPrefix, func(info storage.Info) error {
		if root, ok := strings.CutPrefix(info.Key, tombstonePrefix); ok {
			g.tombstones[root] = true
			g.deleted[root] = info.ModTime
		} else if id, ok := strings.CutPrefix(info.Key, markPrefix); ok {
			marks = append(marks, id)
		} else if lost := strings.HasPrefix(info.Key, lostPrefix); lost || strings.HasPrefix(info.Key, condemnedPrefix) {
			g.files = append(g.files, gcFile{key: info.Key, at: info.ModTime, lost: lost})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at gc/: %w", err)
	}
	if err := r.confirmMark(ctx, marks); err != nil {
		return nil, err
	}
	slices.SortFunc(g.files, func(a, b gcFile) int { return strings.Compare(a.key, b.key) })
	for i := range g.files {
		f := &g.files[i]
		if f.gcList, err = r.gcList(ctx, f.key); err != nil {
			return nil, fmt.Errorf("look at gc/: %w", err)
		}
		into := g.packs
		if f.lost {
			into = g.lost
		}
		for _, id := range f.ids {
			into[id] = true
		}
		for _, root := range f.roots {
			g.roots[root] = true
		}
	}
	return g, nil
}

func (r *Repo) gcList(ctx context.Context, key string) (*gcList, error) {
	r.mu.Lock()
	l := r.lists[key]
	r.mu.Unlock()
	if l != nil {
		return l, nil
	}
	object, err := r.get(ctx, key, seal.MaxDocument)
	if err != nil {
		return nil, err
	}
	kind := seal.Condemned
	if strings.HasPrefix(key, lostPrefix) {
		kind = seal.Lost
	}
	payload, err := r.keys.OpenDocument(kind, key, object, r.dec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if l, err = unmarshalGCList(payload); err != nil {
		return nil, fmt.Errorf("%s: %w", key, damaged(err))
	}
	r.mu.Lock()
	r.lists[key] = l
	r.mu.Unlock()
	return l, nil
}

// maxListIDs bounds the ids of one list.
const maxListIDs = 500_000

// putGCList puts a list under a fresh name and returns its key.
func (r *Repo) putGCList(ctx context.Context, prefix string, l *gcList) (string, error) {
	kind := seal.Condemned
	if prefix == lostPrefix {
		kind = seal.Lost
	}
	name := newID()
	key := prefix + hex.EncodeToString(name[:16])
	object, err := r.keys.SealDocument(kind, key, l.marshal(), r.enc)
	if err != nil {
		return "", err
	}
	if err := r.st.Put(ctx, key, object); err != nil {
		return "", err
	}
	return key, nil
}
