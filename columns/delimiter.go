package columns

import "bytes"

// What is looked at of a text to find out what its fields end with.
const (
	sampleLines = 24
	sampleBytes = 64 << 10
	leastLines  = 4
)

// candidates are what fields end with, in the order of what is taken where two do as well: COPY's default, that of its CSV, and
// what people take who have commas in their text.
var candidates = [...]byte{'\t', ',', '|', ';', 0x01, '^', '~'}

// Delimiter guesses what the fields of a text end with: what most of its lines have as often as the line before, and at
// least once. It looks at some lines in the middle. If ok is false the text is no table.
func Delimiter(text []byte) (delimiter byte, ok bool) {
	sample := text
	if len(sample) > sampleBytes {
		sample = sample[(len(sample)-sampleBytes)/2:][:sampleBytes]
	}
	i := bytes.IndexByte(sample, newline)
	if i < 0 {
		return 0, false
	}
	sample = sample[i+1:]
	var before, alike [len(candidates)]int
	var is [len(candidates)]bool // in the first line
	lines := 0
	for ; lines < sampleLines; lines++ {
		i := bytes.IndexByte(sample, newline)
		if i < 0 {
			break
		}
		for k, c := range candidates {
			if lines > 0 && !is[k] {
				continue // what the first line lacks is looked for no more
			}
			n := fields(sample[:i+1], c)
			if n > 1 && n == before[k] {
				alike[k]++
			}
			before[k], is[k] = n, is[k] || n > 1
		}
		sample = sample[i+1:]
	}
	if lines < leastLines {
		return 0, false
	}
	best := 0
	for k := range candidates {
		if alike[k] > alike[best] {
			best = k
		}
	}
	return candidates[best], alike[best] >= (lines-1)*2/3
}

// fields counts the fields of a line, which ends with a newline.
func fields(line []byte, delimiter byte) (n int) {
	for at := 0; at < len(line); n++ {
		at = fieldEnd(line, at, delimiter)
	}
	return n
}
