package storage

// Support is what is known of something that a target may have or not.
type Support int

// What may be known.
const (
	Unknown Support = iota
	Yes
	No
)

// Traits are what a target was found to do, where targets of one kind differ. The
// zero Traits know nothing, which is treated with the caution of No wherever that is
// safe. A directory needs none.
type Traits struct {
	// ConditionalPut: a put that must not replace never does, however many race.
	ConditionalPut Support
	// CRC32C: the target refuses bytes that do not have the CRC-32C that goes along.
	CRC32C Support
}

// Traited is a storage whose traits are to be told to it, since only a probe finds
// them out.
type Traited interface {
	SetTraits(t Traits)
	Traits() Traits
}
