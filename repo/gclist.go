package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// gcState is what a listing of gc/ said.
type gcState struct {
	packs      map[digest.ID]bool // condemned
	roots      map[string]bool    // condemned: their manifests are about to go
	lost       map[digest.ID]bool // chunks that hits must miss, so that they heal
	tombstones map[string]bool    // roots that are deleted
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
		lost: map[digest.ID]bool{}, tombstones: map[string]bool{},
	}
	var lists, marks []string
	err := r.st.List(ctx, gcPrefix, func(info storage.Info) error {
		if root, ok := strings.CutPrefix(info.Key, tombstonePrefix); ok {
			g.tombstones[root] = true
		} else if id, ok := strings.CutPrefix(info.Key, markPrefix); ok {
			marks = append(marks, id)
		} else if strings.HasPrefix(info.Key, condemnedPrefix) || strings.HasPrefix(info.Key, lostPrefix) {
			lists = append(lists, info.Key)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at gc/: %w", err)
	}
	if err := r.confirmMark(ctx, marks); err != nil {
		return nil, err
	}
	slices.Sort(lists)
	for _, key := range lists {
		l, err := r.gcList(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("look at gc/: %w", err)
		}
		into := g.packs
		if strings.HasPrefix(key, lostPrefix) {
			into = g.lost
		}
		for _, id := range l.ids {
			into[id] = true
		}
		for _, root := range l.roots {
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
