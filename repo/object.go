package repo

import "github.com/gpdedup/gpdedup/repo/seal"

// What follows is for packages that keep objects of their own beside streams, under
// keys of their own: package wal.

// Keys returns what seals and opens the repository's objects.
func (r *Repo) Keys() *seal.Keys { return r.keys }

// Concurrency returns how many cores may be used.
func (r *Repo) Concurrency() int { return r.opts.Concurrency }

// EscapeName returns what name is as one component of a key, or ErrUsage, wrapped,
// for one that cannot be stored. what says what is named, for the error.
func EscapeName(what, name string) (string, error) {
	if err := validatePart(what, name); err != nil {
		return "", err
	}
	return escape(name), nil
}

// UnescapeName reverses EscapeName and refuses everything that it does not write.
func UnescapeName(component string) (string, error) { return unescape(component) }

// MeanChunk returns how long a chunk is on average, in bytes.
func (r *Repo) MeanChunk() int64 { return int64(r.config.Chunks.Min) + 1<<r.config.Chunks.Bits }

// OpenReads returns what Open is going to ask the storage for, as far as that is known
// beforehand: keys of objects, and prefixes of listings. Who has to wait for each answer
// can ask for all of them at once.
func OpenReads(secret Secret) (keys, prefixes []string) {
	keys = []string{configKey}
	if secret.IsZero() {
		keys = append(keys, slotPrefix+plainSlot)
	} else if secret.KeyFile != "" {
		if key, err := readKeyFile(secret.KeyFile); err == nil { // if not, Open says so
			keys = append(keys, slotPrefix+keyFileSlot(key))
		}
	}
	return keys, []string{featurePrefix}
}
