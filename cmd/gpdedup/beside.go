package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// A command that a server waits for may leave a process behind that does beforehand what the
// server will ask for next. It takes the same command line, with another command.

// besideName is the name that it is started under.
const besideName = "gpdedup-beside"

// startBeside starts it: with none of our descriptors but stdin, so that the server's log has nothing to
// do with it.
func startBeside(command, other string, stdin *os.File, attributes *syscall.SysProcAttr) error {
	args, err := otherCommand(os.Args[1:], command, other)
	if err != nil {
		return err
	}
	plugin.KeepDescriptors()
	child := exec.Command("/proc/self/exe", args...)
	child.Args[0] = besideName
	// What is nil is /dev/null. The working directory stays: paths in the command line are relative to it.
	if stdin != nil {
		child.Stdin = stdin
	}
	child.SysProcAttr = attributes
	if err := child.Start(); err != nil {
		return err
	}
	return child.Process.Release()
}

// otherCommand returns the command line with another command of wal. A cluster may be called as a
// command is: where it is not clear which word is the command there is an error.
func otherCommand(args []string, command, other string) ([]string, error) {
	args = slices.Clone(args)
	word := 1
	if len(args) < 2 || args[0] != "wal" || args[1] != command {
		at := max(slices.Index(args, "wal"), 0)
		word = at + slices.Index(args[at:], command)
		if word < at || slices.Contains(args[word+1:], command) {
			return nil, errors.New("no " + command + " in the command line, or more than one")
		}
	}
	args[word] = other
	return args, nil
}

// answered returns the call of the server that this process works for, which is answered early once a ticket is left for
// it (package quick), and false if it must not be: somebody wants to have calls counted.
func answered(g *Globals, command string) (quick.Call, bool) {
	args := slices.Clone(os.Args[1:])
	if g.MetricsFile != "" || len(args) < 2 {
		return quick.Call{}, false
	}
	args[1] = command
	return quick.ParseCall(args)
}

// runBeside is what it does. It has lost its parent: to a server that is the first process of
// its container it counts as one of the server's own, and where one of those fails or ends by a
// signal, the server starts all over again. So this ends as if nothing was wrong; nobody
// waits to hear how it ends.
func runBeside(args []string) {
	defer func() { _ = recover() }()
	signals := catchSignals(context.Background())
	signals.Quiet()
	signals.end = func(syscall.Signal) { os.Exit(0) }
	_ = runCommand(signals, args) // the command that needs what this failed to do will say
}
