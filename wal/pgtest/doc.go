// Package pgtest runs real PostgreSQL servers for the tests of the archive: made by
// initdb, stopped the hard way, cloned, promoted.
//
// A server refuses to run as root, so where the tests are root it gets another user,
// who owns all directories that a Host hands out. Nothing here waits by sleeping for
// some time: what is awaited is asked for again until it is so, or a deadline passes.
package pgtest
