// Package repo is the repository: streams go in, are cut into chunks, named,
// deduplicated, compressed, sealed and packed, and come out again verified.
//
// What flows in: Repo.Write reads a stream to its end, puts the packs that hold
// its new chunks, then the index fragment that names those packs, then the
// manifest that makes the stream visible, and then looks whether a collector
// condemned anything in the meantime. Only a clean look is success.
//
// What flows out: Repo.Restore reads a manifest, fetches the ranges of packs that
// it names, and writes the stream. Every chunk's name is checked before its first
// byte goes out, and the last chunk is held back until the whole is checked.
//
// What never happens: an object is never overwritten; a byte that was not
// verified never goes out; nothing here waits for a lock.
package repo
