//go:build !linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// asReader is the command asreader, for users other than root.
func asReader() {
	path, err := exec.LookPath(os.Args[1])
	if err == nil {
		err = syscall.Exec(path, os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "asreader:", err)
	os.Exit(99)
}
