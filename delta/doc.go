// Package delta describes a chunk by what distinguishes it from a similar one, its
// base.
//
// A delta is a list of instructions, "take so many bytes that follow here, then
// copy so many from the base", and those bytes. The encoder looks for stretches of
// the base with a hash table over its 8-byte words and extends what it finds in
// both directions: the greedy copy and insert of Hunt, Vo and Tichy ("Delta
// algorithms: an empirical analysis", ACM TOSEM 1998), with the positions of a copy
// written relative to where the copy before it ended, because rows that change in
// place leave the rest where it was.
//
// Encoding, version 1:
//
//	version   1 byte, 1
//	count     uvarint, number of instructions
//	length    uvarint, bytes of all instructions
//	per instruction
//	  insert  uvarint, bytes to take from the literals
//	  copy    uvarint, bytes to copy from the base; 0 only in the last instruction
//	  where   varint (zigzag), start of the copy minus the end of the one before;
//	          absent if copy is 0
//	literals  all inserted bytes, to the end
//
// A delta does not say how long base and target are: whoever stores it knows, and
// Decode checks. The encoding is not compressed; the caller compresses it like any
// other payload.
//
// Both directions take time linear in what they are given and at most the memory
// of their output and one hash table, whatever the bytes are.
package delta
