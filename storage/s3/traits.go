package s3

// Support is what is known of something that a target may have or not.
type Support int

// What may be known.
const (
	Unknown Support = iota
	Yes
	No
)

// Traits are what a target was found to do. The zero Traits know nothing, which is
// treated with the caution of No wherever that is safe.
type Traits struct {
	// ConditionalPut: a PUT with If-None-Match: * never replaces, however many race.
	ConditionalPut Support
	// CRC32C: the server refuses a PUT whose bytes do not have the CRC-32C that
	// goes along.
	CRC32C Support
}

// SetTraits tells the store what its target does. It may be called at any time.
func (s *Store) SetTraits(t Traits) { s.traits.Store(&t) }

// Traits returns what the store goes by: what it was told, and what it found out
// the hard way since.
func (s *Store) Traits() Traits { return *s.traits.Load() }

// withoutCondition remembers that the target refuses the condition.
func (s *Store) withoutCondition() {
	t := *s.traits.Load()
	t.ConditionalPut = No
	s.traits.Store(&t)
}
