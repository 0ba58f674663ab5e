//go:build !amd64 || purego

package wide

// Available reports whether this processor can.
func Available() bool { return false }

func chunks16(*uint32, int, *byte, *[lanes]uint32) { panic("wide: not available") }

func parents16(*uint32, int, *uint32, uint32) { panic("wide: not available") }
