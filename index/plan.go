package index

import "math"

// absorb decides how many of the existing generations, given by their entries in
// rising order, to merge with fresh new entries, so that at most maxGens remain.
//
// A generation is merged when it is not larger than ratio times what is merged with
// it already. With a fixed ratio of 2 and at most four files, a stream of small
// refreshes would soon find four large ones and rewrite the smallest of them each
// time. So the ratio grows with the distance between the smallest and the largest,
// as the levels of an LSM tree do: each entry is rewritten about ratio times per
// level, and ratio^(maxGens-1) spans the distance.
func absorb(sizes []uint64, fresh uint64, maxGens int) int {
	n := 0
	if len(sizes) > 0 && fresh > 0 {
		ratio := 2.0
		if maxGens > 1 {
			distance := float64(sizes[len(sizes)-1]) / float64(fresh)
			ratio = max(ratio, math.Pow(distance, 1/float64(maxGens-1)))
		}
		total := float64(fresh)
		for n < len(sizes) && float64(sizes[n]) <= ratio*total {
			total += float64(sizes[n])
			n++
		}
	}
	if len(sizes) > maxGens || n > 0 || fresh > 0 {
		n = max(n, len(sizes)+1-maxGens)
	}
	return n
}
