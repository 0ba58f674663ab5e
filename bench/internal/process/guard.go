//go:build linux

package process

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A program that measures is started a second time for what needs a process of its own. This variable says for what.
const (
	roleVariable  = "GPDEDUP_BENCH_ROLE"
	placeVariable = "GPDEDUP_BENCH_PLACE"
	guardRole     = "guard"
)

// Main does what this process was started for if it was started by Role or as a guard, and ends it. Else it returns.
func Main(roles map[string]func() error) {
	name, ok := os.LookupEnv(roleVariable)
	if !ok {
		return
	}
	role := roles[name]
	if name == guardRole {
		role = guard
	}
	if role == nil {
		fmt.Fprintf(os.Stderr, "unknown role %q\n", name)
		os.Exit(2)
	}
	if err := role(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Role is the command that runs one of Main's functions in a process of its own.
func Role(name string) (Command, error) {
	exe, err := os.Executable()
	return Command{Args: []string{exe}, Env: []string{roleVariable + "=" + name}}, err
}

// guard waits until the process that started it has ended, or has closed its place.
func guard() error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	_, _ = io.Copy(io.Discard, os.Stdin) // however it ends
	dir := os.Getenv(placeVariable)
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		pids := inhabitants(dir)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		// One that was killed may write to its last moment, and one that is not dead yet may start another.
		err := os.RemoveAll(dir)
		if len(pids) == 0 && err == nil {
			return nil
		}
		if time.Since(begin) > 10*time.Second {
			return fmt.Errorf("clear %s: %d processes are left: %w", dir, len(pids), err)
		}
	}
}

// inhabitants are the processes whose home is dir or below it.
func inhabitants(dir string) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	home := []byte("\x00HOME=" + dir)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil { // gone, or none of ours
			continue
		}
		_, rest, ok := bytes.Cut(append([]byte{0}, environ...), home)
		if ok && (len(rest) == 0 || rest[0] == 0 || rest[0] == '/') {
			pids = append(pids, pid)
		}
	}
	return pids
}
