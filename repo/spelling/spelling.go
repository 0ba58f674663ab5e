// Package spelling finds what was meant by a word that nobody knows.
package spelling

import (
	"fmt"
	"slices"
	"strings"
)

// DidYouMean returns `, did you mean "x"?`, to be put behind a message about word,
// or "" if none of the known words is near enough.
func DidYouMean(word string, known []string) string {
	near := Nearest(word, known)
	if len(near) == 0 {
		return ""
	}
	for i := range near {
		near[i] = fmt.Sprintf("%q", near[i])
	}
	last := len(near) - 1
	if last > 0 {
		return fmt.Sprintf(", did you mean %s or %s?", strings.Join(near[:last], ", "), near[last])
	}
	return fmt.Sprintf(", did you mean %s?", near[0])
}

// Aside is DidYouMean for the middle of a message: ` (did you mean "x"?)`, or "".
func Aside(word string, known []string) string {
	if guess, found := strings.CutPrefix(DidYouMean(word, known), ", "); found {
		return " (" + guess + ")"
	}
	return ""
}

// Nearest returns the known words, three at most, that are nearest to word and near
// enough to be meant: those that have one edit in three letters, or that word is the
// beginning of. Case does not count, nor does _ in place of -.
func Nearest(word string, known []string) []string {
	word = fold(word)
	if word == "" {
		return nil
	}
	limit := max(1, len(word)/3)
	best, words := limit+1, []string(nil)
	for _, k := range known {
		d := distance(word, fold(k))
		if d > limit && len(word) > 1 && strings.HasPrefix(fold(k), word) {
			d = limit
		}
		if d < best {
			best, words = d, nil
		}
		if d == best && d <= limit && !slices.Contains(words, k) {
			words = append(words, k)
		}
	}
	if len(words) > 3 { // then nothing speaks for any of them
		return nil
	}
	return words
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// distance is how many letters have to be inserted, deleted or replaced, or changed
// with their neighbour, to make b of a: the optimal string alignment distance.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
