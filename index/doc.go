// Package index says which chunk is where.
//
// The truth lies on storage: every pack ends in a directory of its chunks, and
// index fragments ([AppendFragment], [DecodeFragment]) repeat the directories of
// one or many packs. This package keeps what a host has read of them in a [Cache],
// a directory of a few files that any number of processes use at once:
//
//	index-<n>.db   a generation: an immutable bbolt file, chunk -> location
//	index-<n>.bad  an empty mark: a reader found that generation damaged
//	lock           held, without waiting, by the one process that builds
//	tmp-*          what a builder is writing; the next builder removes leftovers
//
// What flows in: the listing of index/ and a [Loader]. [Cache.Refresh] reads the
// fragments that no generation covers, sorts them in bounded memory, merges them
// with the generations that are small beside them, and publishes the result with a
// rename. What flows out: a [View], which maps the generations, reads the newest
// fragments that they do not cover yet, and answers [View.Find] and [View.Similar].
//
// What never happens:
//
//   - Nobody waits. A second builder gives up at once, a View never builds, and a
//     View that is open keeps its files when a builder unlinks them.
//   - No error of the cache stops a caller. Without a usable directory a View
//     knows the newest fragments only. A View may always miss: a chunk that it does
//     not find may still be stored, and storing it again is all that a miss costs.
//     Whoever must know that a chunk is gone reads all fragments instead.
//   - No stale answer: an entry counts only while the fragment that it came from is
//     in the listing that the View was opened with. The caller lists gc/ first,
//     then index/, and passes what it knows about packs as the usable function.
//   - No wrong answer: the whole chunk id is compared, and each row carries a
//     checksum. It is needed: a location in the wrong pack would make a writer
//     look after that pack while a collector removes the right one.
//   - No trust in similarity: [View.Similar] gives a chunk that shares a feature, in
//     a listed fragment and where it says. Whether it is a good base shows a delta.
//   - No crash: bbolt checks the file's header, but its search follows a damaged
//     page in circles until the stack overflows, which no recover catches. So bbolt
//     writes the generations and this package walks their pages itself, within
//     bounds, and turns a fault of the mapping into a miss. A damaged generation is
//     left out from then on and rebuilt by the next Refresh.
//
// A generation holds one location per chunk, from the latest fragment. Its buckets,
// integers little-endian unless said otherwise, each row with a CRC-32C over the
// generation's salt, the key and the value:
//
//	chunks      first 16 bytes of the id (all 32 where two chunks share them)
//	            -> the other 16, pack ordinal u32, offset u32, stored u32, raw u32,
//	               ordinal u32, encoding u8, flags u8, depth u8,
//	               base 32 (a delta), features 3 x u64 (when flagged), CRC u32
//	packs       ordinal u32 big-endian -> pack id 32, fragment ordinal u32, CRC u32
//	features    high bits of a super-feature, u32 big-endian -> its group: rows of
//	            super-feature u64, chunk 16, CRC u32
//	filter      segment u32 big-endian -> blocks that say which super-features there may be
//	fragments   fragment id -> ordinal u32, entries u32, with features u32, flags u8, CRC u32
//	meta        "version" -> u32; "complete" -> salt, counts, CRC: the last row written
package index
