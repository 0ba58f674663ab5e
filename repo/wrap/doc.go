// Package wrap takes the compression off a stream on its way into the repository,
// and puts it on again on the way out.
//
// gpbackup sends tables through gzip or zstd unless it is told not to. One changed
// row makes all that follows in the compressed stream new, so nothing of it would
// deduplicate; the text inside of it does. What reads the stream again, gzip -d,
// zstd -d or a Go program, looks at the text only, so any valid stream of the same
// text will do:
//
//	in:   compressor ─► Reader ─► content, Wrapping ─► repository
//	out:  repository ─► content ─► Writer ─► decompressor
//
// The content of a stream is what is inside of all its members (gzip) or frames
// (zstd), and then the tail: the bytes behind the last whole member that are none.
// The tail is kept and goes out as it came in.
//
// # What is whole
//
// If the compressor is killed, nobody is told: the stream ends cleanly, in the
// middle. Only the stream itself can say whether it is whole. So what is named .gz
// or .zst, and begins as such, has to be a sequence of complete members with right
// checksums, or reading it fails with a *BrokenError. A further member counts as
// one as soon as its magic number is there; what ends inside of a magic number is
// cut short. Everything else behind a member, the zeroes of a tape for example, is
// tail.
//
// Checker does the same checks, and passes the bytes through as they come.
package wrap
