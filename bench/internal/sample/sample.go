// Package sample holds the figures of several rounds: the median counts, and the span from the least to the greatest says
// how far to trust it.
package sample

import (
	"fmt"
	"math"
	"slices"
)

// Sample is one figure, once for each round.
type Sample []float64

// Median returns the middle; of an empty sample, not a number.
func (s Sample) Median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Map returns the sample with f of each figure.
func (s Sample) Map(f func(float64) float64) Sample {
	out := make(Sample, len(s))
	for i, v := range s {
		out[i] = f(v)
	}
	return out
}

// Over is the ratio of two samples, round by round, as far as both go.
func (s Sample) Over(t Sample) Sample {
	out := make(Sample, min(len(s), len(t)))
	for i := range out {
		out[i] = s[i] / t[i]
	}
	return out
}

// Format writes the median by a format for floats, and in brackets the span where there is one. An empty sample is "–".
func (s Sample) Format(format string) string {
	if len(s) == 0 {
		return "–"
	}
	return s.FormatAs(s.Median(), format)
}

// FormatAs is Format with another figure than the median: the ratio of medians, for one, with the span of the ratios.
func (s Sample) FormatAs(figure float64, format string) string {
	text := fmt.Sprintf(format, figure)
	if len(s) == 0 {
		return text
	}
	low, high := fmt.Sprintf(format, slices.Min(s)), fmt.Sprintf(format, slices.Max(s))
	if low == high {
		return text
	}
	return text + " (" + low + "–" + high + ")"
}
