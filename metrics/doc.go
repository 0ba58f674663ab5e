// Package metrics leaves numbers about what commands did in files that Prometheus reads:
// those of node_exporter's textfile collector.
//
// What flows in: a command begins a [Run], adds what it did, and ends it with its exit code.
// What flows out: the file with the numbers of all runs so far. Any number of processes
// write one file at once: each takes the lock beside it, adds its numbers to those in it,
// and puts the sum in its place by a rename. A reader sees the file before or after that.
//
// What never happens: a command fails, hangs or says anything because of its numbers. Who
// does not get the lock in time leaves his numbers beside the file, for who gets it next.
// A nil *Run, as Begin returns where nobody wants numbers, does nothing.
//
// All names are in [All]; docs/metrics.md is for users.
package metrics
