package chunking

import "github.com/restic/chunker"

const (
	// fingerprinted is how many bytes the fingerprint is of.
	fingerprinted = 64
	// degree is that of a repository's polynomial.
	degree = 53
	// align moves a fingerprint to the upper end of a word. The eight bits that the next
	// byte pushes out are the word's highest then, and a shift to the left drops them.
	align = 64 - degree

	// Four stretches of stretch bytes are scanned side by side. To go on by one byte takes
	// a look-up that waits for the one before, and a processor does four of these chains in
	// little more than the time of one. Each stretch costs fingerprinted bytes to begin,
	// and what lies behind the first cut is scanned in vain: so stretches are long beside
	// the one and short beside a chunk.
	stretch = 2048
	side    = 4 * stretch
)

// fingerprint computes the Rabin fingerprint of 64 bytes, after Rabin, "Fingerprinting
// by random polynomials" (Harvard TR-15-81, 1981): their bits are the coefficients of a
// polynomial over GF(2), and the fingerprint is its remainder modulo the repository's. It
// is what github.com/restic/chunker computes byte by byte. It is safe for concurrent use.
type fingerprint struct {
	next [256]uint64 // what the eight bits that are pushed out are, modulo the polynomial
	gone [256]uint64 // what the byte that leaves the 64 has become by then
	mask uint64      // bits that are 0 where a chunk may end
}

// newFingerprint panics for a polynomial that is not of degree 53, and for bits that its
// remainders do not have: no repository has such.
func newFingerprint(pol chunker.Pol, bits int) *fingerprint {
	if pol.Deg() != degree || bits < 1 || bits > degree {
		panic("chunking: these are no repository's parameters")
	}
	f := &fingerprint{mask: (1<<bits - 1) << align}
	powers(&f.next, uint64(pol), degree)
	powers(&f.gone, uint64(pol), 8*fingerprinted)
	return f
}

// powers fills a table with b·xⁿ modulo the polynomial, for every byte b.
func powers(table *[256]uint64, pol uint64, n int) {
	x := uint64(1)
	for i := range n + 8 {
		if i >= n {
			table[1<<(i-n)] = x << align
		}
		if x <<= 1; x>>degree != 0 {
			x ^= pol
		}
	}
	for b := range table { // it is linear: the rest are sums of those of single bits
		if low := b & -b; low != b {
			table[b] = table[b^low] ^ table[low]
		}
	}
}

// of returns the fingerprint of the first 64 bytes of data, moved up by align.
func (f *fingerprint) of(data []byte) (sum uint64) {
	for _, b := range data[:fingerprinted] {
		sum = sum<<8 ^ uint64(b)<<align ^ f.next[sum>>56]
	}
	return sum
}

// mayEnd reports whether the last 64 bytes of data are such that a chunk may end there.
func (f *fingerprint) mayEnd(data []byte) bool {
	return f.of(data[len(data)-fingerprinted:])&f.mask == 0
}

// find returns the least n of from ≤ n ≤ to such that a chunk may end behind the first n
// bytes of data, or 0 if there is none. from is at least 64, to at most len(data).
func (f *fingerprint) find(data []byte, from, to int) int {
	at := from - fingerprinted // where the 64 bytes begin
	for ; at+side+fingerprinted <= to; at += side {
		if n := f.four((*[side + fingerprinted]byte)(data[at:])); n >= 0 {
			return at + n + fingerprinted
		}
	}
	if at+fingerprinted > to {
		return 0
	}
	if last := to - side - fingerprinted; last >= from-fingerprinted {
		// Less than four stretches are left: to scan some places again is faster than
		// byte by byte.
		if n := f.four((*[side + fingerprinted]byte)(data[last:])); n >= 0 {
			return last + n + fingerprinted
		}
		if f.mayEnd(data[:to]) {
			return to
		}
		return 0
	}
	sum := f.of(data[at:])
	if sum&f.mask == 0 {
		return at + fingerprinted
	}
	leaves := data[at : to-fingerprinted]
	for i, b := range data[at+fingerprinted : to] {
		sum = sum<<8 ^ uint64(b)<<align ^ f.next[sum>>56] ^ f.gone[leaves[i]]
		if sum&f.mask == 0 {
			return at + i + 1 + fingerprinted
		}
	}
	return 0
}

// four returns the least n < side such that a chunk may end behind the 64 bytes from w[n]
// on, or -1.
func (f *fingerprint) four(w *[side + fingerprinted]byte) int {
	var a, b, c, d uint64
	for i := range fingerprinted {
		a = a<<8 ^ uint64(w[i])<<align ^ f.next[a>>56]
		b = b<<8 ^ uint64(w[i+stretch])<<align ^ f.next[b>>56]
		c = c<<8 ^ uint64(w[i+2*stretch])<<align ^ f.next[c>>56]
		d = d<<8 ^ uint64(w[i+3*stretch])<<align ^ f.next[d>>56]
	}
	if a&f.mask == 0 {
		return 0
	}
	// Each stretch ends with the place that the next one began with, so that these need no
	// look of their own; only the last of all is left to whoever goes on behind it.
	mask := f.mask
	var hit [4]int // of each stretch, the first; an array, because moves without branches are slower here
	for i := range stretch {
		a = a<<8 ^ uint64(w[i+fingerprinted])<<align ^ f.next[a>>56] ^ f.gone[w[i]]
		b = b<<8 ^ uint64(w[i+fingerprinted+stretch])<<align ^ f.next[b>>56] ^ f.gone[w[i+stretch]]
		c = c<<8 ^ uint64(w[i+fingerprinted+2*stretch])<<align ^ f.next[c>>56] ^ f.gone[w[i+2*stretch]]
		d = d<<8 ^ uint64(w[i+fingerprinted+3*stretch])<<align ^ f.next[d>>56] ^ f.gone[w[i+3*stretch]]
		if a&mask == 0 {
			return i + 1
		}
		if b&mask == 0 && hit[1] == 0 {
			hit[1] = stretch + i + 1
		}
		if c&mask == 0 && hit[2] == 0 {
			hit[2] = 2*stretch + i + 1
		}
		if d&mask == 0 && hit[3] == 0 {
			hit[3] = 3*stretch + i + 1
		}
	}
	for _, n := range hit {
		if n > 0 && n < side {
			return n
		}
	}
	return -1
}
