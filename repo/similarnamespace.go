package repo

import (
	"slices"
	"sync"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/storage"
)

// namespaceFeatures makes the features of chunks whose namespace nobody knows: a
// collector's. It is safe for concurrent use.
type namespaceFeatures struct {
	mu    sync.Mutex
	all   []*chunking.Featurer // one for each namespace, the one that was right last first
	right bool                 // one was right
}

// newNamespaceFeatures takes the namespaces of the manifests.
func newNamespaceFeatures(key [32]byte, manifests []storage.Info) *namespaceFeatures {
	n := &namespaceFeatures{}
	seen := make(map[string]bool)
	for i := range manifests {
		name, _, err := parseKey(manifests[i].Key)
		if err == nil && !seen[name.Namespace] {
			seen[name.Namespace] = true
			n.all = append(n.all, chunking.NewFeaturer(key, name.Namespace))
		}
	}
	return n
}

// of returns the features of the content in the namespace in which it shares some with
// those of a chunk like it. Where it shares none in any, which is seldom, it is taken for
// one of the namespace of the chunk before, whose stream it probably comes from; and where
// there was none before, the features are those of the chunk like it.
func (n *namespaceFeatures) of(content []byte, like [3]uint64) [3]uint64 {
	n.mu.Lock()
	all, right := slices.Clone(n.all), n.right
	n.mu.Unlock()
	probable := like
	for i, f := range all {
		features, ok := f.Features(content)
		if !ok {
			continue
		}
		if features[0] == like[0] || features[1] == like[1] || features[2] == like[2] {
			n.found(f)
			return features
		}
		if i == 0 && (right || len(all) == 1) {
			probable = features
		}
	}
	return probable
}

// found moves what was right to the front.
func (n *namespaceFeatures) found(f *chunking.Featurer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := slices.Index(n.all, f)
	n.all[0], n.all[at] = n.all[at], n.all[0]
	n.right = true
}
