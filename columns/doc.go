// Package columns brings the fields of text tables together by columns, and apart again.
//
// What COPY writes is a line for each row, and fields one after the other: a number, a name, a time, a number. A compressor
// that looks for repetitions finds short ones, because what is alike lies a line apart, and it codes the letters of all columns
// with one table. The fields of one column, one behind the other, are a text of one kind: that takes less room, and less time.
// The idea is that of column stores; see D. Abadi, S. Madden and M. Ferreira, "Integrating Compression and Execution in
// Column-Oriented Database Systems", SIGMOD 2006.
//
// The text need not be well formed: any bytes come back as they were. Where they are no table it is only not worth it. What
// precedes the first newline is the text's head, what follows the last one its tail. Between them are fields:
//
//	field   = [ quoted … ] plain
//	quoted  = '"' and what follows, to the next '"' or newline
//	plain   = what follows, to the next delimiter or newline
//
// Quotes count at the beginning of a field and directly after another quoted part only, and a newline ends a field always. So
// a text that begins within a quoted field falls into step at its next line.
//
// A field, with the delimiter or newline that ends it, belongs to the column of its number in the line; those beyond Max
// to the last one. A column is kept in one of three ways:
//
//   - Text: its fields, with what ends them.
//   - Fixed: its fields, all of one length, without what ends them, which is the same for all.
//   - Dictionary: the different fields, of which there are at most 256, in the order in which they come first; and a byte for
//     each field, which one it is.
package columns

// Max is the greatest number of columns.
const Max = 512

// Slack is how many bytes there must be behind columns and text when they are merged; those behind the text may change.
const Slack = 32

// Kind says how a column is kept.
type Kind uint8

// The kinds.
const (
	Text Kind = iota
	Fixed
	Dictionary
)

// dictionaryMax is the greatest number of fields in a dictionary.
const dictionaryMax = 256
