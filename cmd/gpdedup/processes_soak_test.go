//go:build soak

package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestProcessesForLong does what TestProcesses does for several minutes, with seeds from
// GPDEDUP_PROCESSES_SEED on. Seeds give the same choices, not the same moments.
func TestProcessesForLong(t *testing.T) {
	from, err := strconv.ParseUint(os.Getenv("GPDEDUP_PROCESSES_SEED"), 10, 64)
	if err != nil {
		from = uint64(os.Getpid())
	}
	for seed := from; seed < from+12; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newYard(t, seed).run(40) })
	}
}
