package pgtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is one of the machine's.
type Process struct {
	PID     int
	Program string // as it calls itself
}

// Processes returns those whose command line, in which a zero byte ends each argument, holds all of the words.
func Processes(words ...string) (found []Process) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is fine
next:
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || len(line) == 0 {
			continue // it has ended, or is the kernel's
		}
		for _, word := range words {
			if !strings.Contains(string(line), word) {
				continue next
			}
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		program, _, _ := strings.Cut(string(line), "\x00")
		found = append(found, Process{pid, program})
	}
	return found
}
