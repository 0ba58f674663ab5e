package seal

import "math/bits"

// Padme returns the length to which an object of n bytes is padded, so that its
// size tells at most O(log log n) bits: the Padmé function of Nikitin et al.,
// "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs"
// (PoPETs 2019). The result exceeds n by at most 12 %, and by less the longer n is.
func Padme(n int) int {
	if n < 2 {
		return n
	}
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	mask := 1<<(e-s) - 1
	return (n + mask) &^ mask
}
