// Package basetest tests base backups and recovery with real servers and the built
// program.
package basetest
