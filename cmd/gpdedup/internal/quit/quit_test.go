package quit

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestQuit: the signal is nobody's until Restore, and Go's then.
func TestQuit(t *testing.T) {
	caught := func() bool {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(status), "\nSigCgt:\t")
		line, _, _ := strings.Cut(after, "\n")
		mask, err := strconv.ParseUint(line, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return mask>>(uint(syscall.SIGQUIT)-1)&1 == 1
	}
	if caught() {
		t.Error("somebody catches it from the beginning")
	}
	Restore()
	if !caught() {
		t.Error("nobody catches it after Restore")
	}
}
