package chunking

import (
	"encoding/binary"

	"github.com/zeebo/blake3"
)

// How features are made. Repositories hold features made this way: whatever changes
// here needs another context in NewFeaturer, or chunks of yesterday and today are
// compared by different measures and nothing is similar to anything.
const (
	superFeatures = 3
	// groupSize is how many features make a super-feature. Where a chunk shares the
	// part J of its windows with its base, one of three super-features agrees with
	// probability 1-(1-J^groupSize)^3. Measured on tables whose rows changed by 1.3 % a
	// day, groups of four found 96.4 % of the bases and groups of two 97.6 %; with 5.2 %
	// of the rows 81 % and 89 %. With groups of one, unlike chunks begin to look similar.
	groupSize  = 2
	transforms = superFeatures * groupSize

	// gearShift is what the gear hash moves by each byte: 64/gearShift bytes are in
	// its window, 32. Longer windows lose more samples around each change, much
	// shorter ones see what every row of a table has in common.
	gearShift = 2
	window    = 64 / gearShift
	// sampleBits is how many high bits of the hash are zero at a sampled position:
	// one in 128.
	sampleBits = 7
	// minSamples is how many samples make a chunk comparable: with few, one change
	// more or less is a matter of luck.
	minSamples = 32
	// sampleBatch is how many samples are transformed at a time: few enough to stay
	// in the nearest cache, enough to keep one transform at a time in registers.
	sampleBatch = 128
)

const featureContext = "gpdedup v1 gear table and linear transforms of similarity features"

// Featurer computes super-features: numbers that chunks with much in common
// probably share. It is safe for concurrent use.
//
// The resemblance of two chunks is how many of their windows of 32 bytes they share
// (Broder, "On the resemblance and containment of documents", SEQUENCES 1997). The
// maximum of a random function over all windows is the same in two chunks with just
// that probability: a feature. The functions are linear transforms of one rolling
// fingerprint (the N-transform), and some features each are hashed into one of three
// super-features, as in Shilane, Huang, Wallace and Hsu, "WAN optimized replication
// of backup datasets using stream-informed delta compression" (FAST 2012), which
// takes four where we take two: an equal super-feature is strong evidence, and one of
// three is enough. The fingerprint is a gear hash, and only positions that it selects
// by its own value, one in 128, go through the transforms, as in Odess: Zou, Xia et
// al., "The dilemma between deduplication and locality: can both be achieved?" (FAST
// 2021).
type Featurer struct {
	gear  [256]uint64
	mul   [transforms]uint64
	add   [transforms]uint64
	mixer [transforms]uint64
	limit uint64 // hashes below it are sampled
}

// NewFeaturer returns the Featurer of a namespace. Gear table and transforms come
// from key and namespace: features of one namespace tell nothing about another's,
// and bases stay within one.
func NewFeaturer(key [32]byte, namespace string) *Featurer {
	h := blake3.NewDeriveKey(featureContext)
	_, _ = h.Write(key[:]) // fixed length, so that key and namespace cannot run together
	_, _ = h.WriteString(namespace)
	out := h.Digest()
	f := &Featurer{limit: 1 << (64 - sampleBits)}
	for _, table := range [][]uint64{f.gear[:], f.mul[:], f.add[:], f.mixer[:]} {
		for i := range table {
			var b [8]byte
			_, _ = out.Read(b[:]) // an endless stream
			table[i] = binary.LittleEndian.Uint64(b[:])
		}
	}
	for i := range transforms {
		// Odd multipliers make a transform, and the mixing, a permutation.
		f.mul[i] |= 1
		f.mixer[i] |= 1
	}
	return f
}

// Features returns the super-features of data. ok is false where it has too few
// samples, as in a few KiB, or only samples that are all the same. It does not
// allocate.
func (f *Featurer) Features(data []byte) (sf [superFeatures]uint64, ok bool) {
	if len(data) < window {
		return sf, false
	}
	var s sampler
	// Two windows move over a half each: the processor computes one hash while it
	// waits for the other.
	half := (len(data)-window+1)/2/laneBytes*laneBytes + window - 1
	s.lanes(f, data[:half], data[half-window+1:])
	s.flush(f)
	if s.total < minSamples {
		return sf, false
	}
	for i := range sf {
		v := uint64(i)
		for j := range groupSize {
			k := i*groupSize + j
			v = (v ^ s.maxima[k]) * f.mixer[k]
			v ^= v >> 32
		}
		sf[i] = v
	}
	return sf, true
}

// Resemblance estimates which part of all windows of two chunks, of so many bytes, both have:
// the part J above. They have so many bytes in common, in so many stretches.
func Resemblance(a, b, common, stretches int) float64 {
	both := max(0, min(common-stretches*(window-1), a, b))
	return float64(both) / float64(max(a+b-both, 1))
}

// sampler is what one call of Features works in.
type sampler struct {
	samples [sampleBatch]uint64
	n       uint // samples that were not transformed yet
	total   int  // those that were, runs of one value counted once
	last    uint64
	maxima  [transforms]uint64
}

// laneBytes is how many bytes of each half lanes looks at between two looks at how
// full s is.
const laneBytes = 4

// lanes samples a, and then b from where it is as far as a. Both begin with a window
// less one byte that is not sampled itself; b may be longer, and a is then a whole
// number of laneBytes. For each byte it costs a load, a look-up, a shift with
// addition, and a comparison that is nearly always false.
func (s *sampler) lanes(f *Featurer, a, b []byte) {
	gear, limit, n := &f.gear, f.limit, s.n
	h, g := uint64(0), uint64(0)
	for i := range window - 1 {
		h, g = h<<gearShift+gear[a[i]], g<<gearShift+gear[b[i]]
	}
	a, b = a[window-1:], b[window-1:]
	for len(a) >= laneBytes && len(b) >= laneBytes {
		p, q := (*[laneBytes]byte)(a), (*[laneBytes]byte)(b)
		if h = h<<gearShift + gear[p[0]]; h < limit {
			s.samples[n%sampleBatch] = h
			n++
		}
		if g = g<<gearShift + gear[q[0]]; g < limit {
			s.samples[n%sampleBatch] = g
			n++
		}
		if h = h<<gearShift + gear[p[1]]; h < limit {
			s.samples[n%sampleBatch] = h
			n++
		}
		if g = g<<gearShift + gear[q[1]]; g < limit {
			s.samples[n%sampleBatch] = g
			n++
		}
		if h = h<<gearShift + gear[p[2]]; h < limit {
			s.samples[n%sampleBatch] = h
			n++
		}
		if g = g<<gearShift + gear[q[2]]; g < limit {
			s.samples[n%sampleBatch] = g
			n++
		}
		if h = h<<gearShift + gear[p[3]]; h < limit {
			s.samples[n%sampleBatch] = h
			n++
		}
		if g = g<<gearShift + gear[q[3]]; g < limit {
			s.samples[n%sampleBatch] = g
			n++
		}
		a, b = a[laneBytes:], b[laneBytes:]
		if n > sampleBatch-4*laneBytes {
			s.n = n
			s.flush(f)
			n = 0
		}
	}
	for _, c := range b { // less than 2 * laneBytes
		if g = g<<gearShift + gear[c]; g < limit {
			s.samples[n%sampleBatch] = g
			n++
		}
	}
	s.n = n
}

// flush raises the maxima to those of the transforms of the samples.
func (s *sampler) flush(f *Featurer) {
	// Bytes that repeat give the same samples again, which change no maximum and say nothing about how much there is to compare.
	kept := s.samples[:0]
	for _, h := range s.samples[:s.n] {
		if h != s.last {
			kept = append(kept, h)
		}
		s.last = h
	}
	s.total += len(kept)
	for i := range s.maxima {
		mul, add, most := f.mul[i], f.add[i], s.maxima[i]
		for _, h := range kept {
			most = max(most, h*mul+add)
		}
		s.maxima[i] = most
	}
	s.n = 0
}
