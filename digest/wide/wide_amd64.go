//go:build !purego

package wide

import "golang.org/x/sys/cpu"

// Available reports whether this processor can.
func Available() bool { return cpu.X86.HasAVX512F }

// chunks16 hashes sixteen chunks, which begin at in, to sixteen nodes, which begin at out.
// A node's words lie row bytes apart.
//
//go:noescape
func chunks16(out *uint32, row int, in *byte, counters *[lanes]uint32)

// parents16 hashes 32 nodes, which begin at in, to their sixteen parents. out may be in.
//
//go:noescape
func parents16(out *uint32, row int, in *uint32, flags uint32)
