//go:build soak

package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/gpdedup/gpdedup/storage/s3/s3test"
)

// TestProcessesForLong does what TestProcesses does for several minutes, in a directory and
// in a bucket in turn, with seeds from GPDEDUP_PROCESSES_SEED on. Seeds give the same choices, not the same moments.
func TestProcessesForLong(t *testing.T) {
	from, err := strconv.ParseUint(os.Getenv("GPDEDUP_PROCESSES_SEED"), 10, 64)
	if err != nil {
		from = uint64(os.Getpid())
	}
	for seed := from; seed < from+8; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if seed%2 == 0 {
				newYard(t, seed).run(40)
			} else {
				newYardIn(t, seed, s3test.Start(t)).run(20)
			}
		})
	}
}
