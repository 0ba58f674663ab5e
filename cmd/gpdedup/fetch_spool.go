package main

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/plugin"
)

// To start a child takes longer than to hand over a segment that was fetched ahead. So
// the guard does that itself. It knows one outcome, that the file is there; whatever
// else happens, an error or a panic, it says nothing and starts the child, which meets
// the same and can say so.

// spoolLimit is how long the guard tries: longer than a fetch waits for the process
// that fetches ahead, so that only a file system that hangs is left to the child.
const spoolLimit = 20 * time.Second

// servedFromSpool hands over the file that the command line asks for if it was fetched
// ahead, and reports whether it did. A signal ends the process by that signal.
func servedFromSpool(args []string, incoming <-chan os.Signal) bool {
	done := make(chan bool, 1)
	go func() {
		served := false
		defer func() {
			_ = recover() // the child meets it too, and says so
			done <- served
		}()
		served = fetchFromSpool(args)
	}()
	select {
	case served := <-done:
		return served
	case <-time.After(spoolLimit):
		return false
	case sig := <-incoming:
		// It is done in milliseconds, or hangs.
		select {
		case <-done:
		case <-incoming:
		case <-time.After(time.Second):
		}
		sign, _ := sig.(syscall.Signal)
		plugin.DieBy(sign)
		return false
	}
}

func fetchFromSpool(args []string) bool {
	started := time.Now()
	cli := &CLI{}
	// What the quick reader does not understand is the grammar's, and the child's.
	name, run := readQuickly(cli, args)
	if run == nil {
		return false
	}
	g, err := cli.settle(&signals{Context: context.Background(), quiet: true}, name)
	if err != nil {
		return false
	}
	f, err := cli.Wal.Fetch.prepare(g, &cli.Wal)
	if err != nil {
		return false
	}
	g.beginMetrics(name, started)
	if !f.FromSpool(g.ctx) {
		return false
	}
	g.metrics.Add(metrics.WALFetched, 1, cli.Wal.Content)
	g.endMetrics(nil)
	return true
}
