package tablegen

import "math/bits"

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit of x matters for every bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// random is splitmix64. Its numbers are the same on every machine, unlike those of floating point functions.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	x := mix(r.state)
	r.state += 0x9e3779b97f4a7c15
	return x
}

// below is a number less than n, which must not be 0.
func (r *random) below(n uint64) uint64 {
	high, _ := bits.Mul64(r.next(), n)
	return high
}
