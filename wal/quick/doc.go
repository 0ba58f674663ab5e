// Package quick answers a call of a server's command whose work was done beforehand: a segment
// that was fetched ahead is moved to where the server wants it, one that was pushed ahead is
// found to be in the archive.
//
// A server makes such a call for each segment and waits for it, one after the other, and most
// of what one takes is that the packages of a large program make themselves ready. So this one
// needs next to nothing of the standard library (not even path/filepath, whose turn comes late) and nothing else, and
// cmd/gpdedup/internal/early calls it before those others have theirs.
//
// It does not read command lines. The process that works beside the server has read one, and
// leaves a ticket: for a call that differs in nothing but the name of the file, in this working
// directory and environment, here is what it needs to know. What a ticket leads to is checked as
// package wal does, by the same code, and whatever is not as expected is left to the whole program, which
// comes to the same result.
package quick
