package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"gpdedup":  main,
		"mkdata":   makeData,
		"asreader": asReader,
	})
}

// TestScripts runs testdata/script/*.txtar, which say what the command line does.
//
// What they have beside testscript's own commands: mkdata SEED BYTES writes bytes
// that do not repeat; rc WANT COMMAND… fails unless the command ends with the exit
// code or the signal WANT (as "SIGTERM"), and keeps its output for stdout and
// stderr; putbyte FILE OFFSET VALUE changes one byte; scan VARIABLE PREFIX sets the
// variable to what follows the prefix in the last output; asreader COMMAND… runs a
// command without root's right to write everywhere; sigafter NAME MILLISECONDS WANT
// COMMAND… sends a signal to a command that waits for its input.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("TZ", "UTC")
			return os.Mkdir(env.WorkDir+"/home", 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"rc": wantExit, "putbyte": putByte, "sigafter": signalAfter, "scan": scan,
		},
	})
}

// makeData is the command mkdata.
func makeData() {
	seed, _ := strconv.ParseUint(os.Args[1], 10, 64)
	n, _ := strconv.Atoi(os.Args[2])
	out := make([]byte, n)
	for i := range out {
		seed = seed*6364136223846793005 + 1442695040888963407
		out[i] = byte(seed >> 56)
	}
	if _, err := os.Stdout.Write(out); err != nil {
		os.Exit(1)
	}
}

// wantExit is the script command rc.
func wantExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: rc WANT COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	if got := outcome(err); got != args[0] {
		ts.Fatalf("ended with %s (%v), want %s", got, err, args[0])
	}
}

// outcome is the exit code or the signal that a command ended with.
func outcome(err error) string {
	if err == nil {
		return "0"
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err.Error()
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return map[syscall.Signal]string{syscall.SIGINT: "SIGINT", syscall.SIGTERM: "SIGTERM", syscall.SIGQUIT: "SIGQUIT"}[status.Signal()]
	}
	return strconv.Itoa(exit.ExitCode())
}

// putByte is the script command putbyte.
func putByte(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: putbyte FILE OFFSET VALUE")
	}
	path := ts.MkAbs(args[0])
	data := []byte(ts.ReadFile(args[0]))
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	value, err := strconv.ParseUint(args[2], 0, 8)
	ts.Check(err)
	if offset < 0 {
		offset += len(data)
	}
	data[offset] = byte(value)
	ts.Check(os.WriteFile(path, data, 0o600))
}

// scan is the script command scan VARIABLE PATTERN: it sets the variable to the
// first field of the last output that matches.
func scan(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: scan VARIABLE PREFIX")
	}
	for _, field := range strings.FieldsFunc(ts.ReadFile("stdout"), func(r rune) bool { return strings.ContainsRune(" \n\t\":,", r) }) {
		if rest, ok := strings.CutPrefix(field, args[1]); ok {
			ts.Setenv(args[0], rest)
			return
		}
	}
	ts.Fatalf("nothing begins with %q", args[1])
}

// signalAfter is the script command sigafter.
func signalAfter(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: sigafter NAME MILLISECONDS WANT COMMAND…")
	}
	sig := map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM, "SIGQUIT": syscall.SIGQUIT}[args[0]]
	ms, err := strconv.Atoi(args[1])
	ts.Check(err)
	path, err := exec.LookPath(args[3])
	ts.Check(err)
	cmd := exec.Command(path, args[4:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "GPDEDUP_REPO="+ts.Getenv("GPDEDUP_REPO"),
		"GPDEDUP_KEY_FILE="+ts.Getenv("GPDEDUP_KEY_FILE"))
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	_, err = fmt.Fprint(in, strings.Repeat("some data to begin with\n", 20000))
	ts.Check(err)
	time.Sleep(time.Duration(ms) * time.Millisecond)
	ts.Check(cmd.Process.Signal(sig))
	if args[0] == "SIGTERM" {
		// What killed the program that feeds us may end our input too.
		ts.Check(in.Close())
	}
	if got := outcome(cmd.Wait()); got != args[2] {
		ts.Fatalf("ended with %s, want %s", got, args[2])
	}
	if strings.Count(said.String(), "\n") > 1 {
		ts.Fatalf("more than a line was said: %s", said.String())
	}
}
