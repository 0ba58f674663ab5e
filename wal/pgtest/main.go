package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Main runs a package's tests with a host for their servers, and on it the program, as the
// servers run it: what GPDEDUP_BINARY names, or else one that is built now. It sets both
// before, and returns what the process is to exit with.
func Main(m interface{ Run() int }, host **Host, executable *string) int {
	code, err := run(m, host, executable)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func run(m interface{ Run() int }, host **Host, executable *string) (code int, err error) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GPDEDUP_") && name != "GPDEDUP_BINARY" {
			_ = os.Unsetenv(name) // its name is valid
		}
	}
	h, err := NewHost()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	binary := os.Getenv("GPDEDUP_BINARY")
	if binary == "" {
		binary = filepath.Join(h.Dir(), "built", "gpdedup")
		build := exec.Command("go", "build", "-o", binary, "github.com/gpdedup/gpdedup/cmd/gpdedup")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	*host = h
	if *executable, err = h.Install(binary); err != nil {
		return 0, err
	}
	return m.Run(), nil
}
