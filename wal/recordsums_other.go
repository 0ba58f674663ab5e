//go:build !amd64 || purego

package wal

const quickSums = false

func recordSums(*byte, *int32, *uint32, int) { panic("wal: not available") }
