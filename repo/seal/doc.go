// Package seal turns plain bytes into what a repository stores, and back.
//
// Every stored object begins with a 48-byte header: magic, kind, format version,
// algorithms, key epoch and a fresh 32-byte salt. What follows are boxes: sealed
// pieces that each carry 16 bytes of overhead. Header, position and whatever the
// caller binds (a chunk's name, an object's key) are authenticated with each box,
// so no piece can be moved, renamed or replayed unnoticed.
//
// The key of an object's boxes derives from the epoch's secret, the kind and the
// salt, so no two objects share a key and a nonce is simply the box's ordinal. An
// unencrypted repository takes the same path with one difference: a box is the
// plain bytes and a 16-byte keyed checksum. Nothing above this package knows.
//
// docs/format.md holds the byte diagrams.
package seal
