// Package columns brings the fields of text tables together by columns, and apart again.
//
// What COPY writes is a line for each row, and fields one after the other: a number, a name, a time, a number. A compressor
// that looks for repetitions finds short ones, because what is alike lies a line apart, and it codes the letters of all columns
// with one table. The fields of one column, one behind the other, are a text of one kind: that takes less room, and less time.
// The idea is that of column stores; see D. Abadi, S. Madden and M. Ferreira, "Integrating Compression and Execution in
// Column-Oriented Database Systems", SIGMOD 2006.
//
// The text need not be well formed: any bytes come back as they were. Where they are no table it is only not worth it. What
// precedes the first newline is the text's head, what follows the last one its tail. Between them are fields. Each ends
// with a delimiter or a newline, and belongs to the column of its number in the line; those beyond Max belong to the last one.
//
// Quotes hide delimiters, but not newlines: at the beginning of a field, and directly after another quoted part, a quote does until the next
// one. So a text that begins within a quoted field falls into step at its next line. This is the writer's affair alone: who puts a text together
// goes by lengths.
//
// A column is kept in one of these ways:
//
//   - Fixed: its fields, all of one length, which end alike.
//   - Varying: its fields, and their lengths.
//   - Dictionary: the different fields, of which there are at most 256, their lengths, and a byte for each field, which one it is.
//   - Same: a dictionary whose bytes are those of an earlier column, as where one column depends on another.
//   - Numbers and times: integers, as differences to the one before or to the least, and the fields that are no such thing as they are.
//     Identifiers and times grow in most tables, so little is left of them.
//   - Hexadecimal: fields of one length, with digits at the same places in all, which go two into a byte, and the same letters elsewhere; and the
//     fields that are no such thing as they are.
//
// Fields are kept without what ends them.
package columns

// Max is the greatest number of columns.
const Max = 512

// Longest is the length of the longest text, in bytes.
const Longest = 1 << 30

// Slack is how many bytes there must be behind columns and text when they are merged; those behind the text may change.
const Slack = 48

// kind says how a column is kept.
type kind uint8

const (
	fixed kind = iota
	varying
	dictionary
	same
	number
	moment
	hexadecimal
)

// endsLines is set beside the kind of a column whose fields end with a newline; else they end with the delimiter.
const endsLines = 128

// A length is a byte, unless it is longer than that or the field does not end as those of its column do: then the
// byte is escape, and a uvarint follows: twice the length, and one more for a field that ends otherwise.
const escape = 255

// mostWords is the greatest number of fields in a dictionary.
const mostWords = 256
