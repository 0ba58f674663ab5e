package index

import (
	"fmt"
)

// catchFault turns a memory fault into errDamaged. Whoever touches a mapping does
//
//	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
//	defer catchFault(&err)
//
// because a page of a file that somebody cut short, or that the disk cannot read,
// raises SIGBUS, which otherwise ends the process. Other panics pass through.
func catchFault(err *error) {
	switch r := recover().(type) {
	case nil:
	case interface {
		error
		Addr() uintptr
	}:
		*err = fmt.Errorf("%w: %v", errDamaged, r)
	default:
		panic(r)
	}
}

// catchPanic turns any panic into errDamaged: bbolt panics with strings on files
// that it does not like.
func catchPanic(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errDamaged, r)
	}
}
