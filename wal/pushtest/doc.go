// Package pushtest holds the tests of wal push, and of what looks after the archive,
// with real servers and real processes. It has no code of its own.
package pushtest
