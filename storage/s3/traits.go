package s3

import "github.com/gpdedup/gpdedup/storage"

var _ storage.Traited = (*Store)(nil)

// SetTraits tells the store what its target does. It may be called at any time.
func (s *Store) SetTraits(t storage.Traits) { s.traits.Store(&t) }

// Traits returns what the store goes by: what it was told, and what it found out
// the hard way since.
func (s *Store) Traits() storage.Traits { return *s.traits.Load() }

// withoutCondition remembers that the target refuses the condition.
func (s *Store) withoutCondition() {
	t := *s.traits.Load()
	t.ConditionalPut = storage.No
	s.traits.Store(&t)
}
