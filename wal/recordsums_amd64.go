//go:build !purego

package wal

import "golang.org/x/sys/cpu"

var quickSums = cpu.X86.HasSSE42

// recordSums puts the checksums of n records of data into sums. Each lies at a multiple of eight
// bytes in whole words of eight, of which the last need not be full.
//
//go:noescape
func recordSums(data *byte, offsets *int32, sums *uint32, n int)
