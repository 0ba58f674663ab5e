// Package fetchtest holds the tests of wal fetch with real servers, that is, of what
// PostgreSQL makes of whatever the command ends with. It has no code of its own.
package fetchtest
