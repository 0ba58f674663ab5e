//go:build soak

package repo

import (
	"os"
	"strconv"
	"testing"
)

// TestSimExploreThoroughly goes further than TestSimExplore.
func TestSimExploreThoroughly(t *testing.T) {
	for _, e := range explorations() {
		t.Run(e.s.name, func(t *testing.T) {
			e.thorough.runs = 40_000
			e.explore(t, e.thorough)
		})
	}
}

// TestSimManySeeds draws thousands of schedules, from GPDEDUP_SIM_SEED on.
func TestSimManySeeds(t *testing.T) {
	from, err := strconv.ParseUint(os.Getenv("GPDEDUP_SIM_SEED"), 10, 64)
	if err != nil {
		from = 1000
	}
	seeds(t, from, 5000)
}
