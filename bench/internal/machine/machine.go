//go:build linux

// Package machine says what figures were taken on, and nothing that names the machine or a path on it.
package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Taken is what one should know of a run.
type Taken struct {
	Date       string  `json:"date"`
	Processor  string  `json:"processor"`
	Cores      int     `json:"cores"`
	Memory     string  `json:"memory"`
	FileSystem string  `json:"file_system"`
	Go         string  `json:"go"`
	Load       float64 `json:"load_at_end"` // of one minute, when the figures were complete
}

// Look asks the machine. dir is in the file system that was measured.
func Look(dir string) Taken {
	return Taken{
		Date: time.Now().UTC().Format(time.DateOnly), Processor: processor(), Cores: runtime.NumCPU(), Memory: memory(),
		FileSystem: fileSystem(dir), Go: strings.TrimPrefix(runtime.Version(), "go"), Load: Load(),
	}
}

// String is the sentence for a report.
func (t Taken) String() string {
	return fmt.Sprintf("Taken on %s: %s, %d cores, %s, file system %s, Go %s, load %.1f at the end.",
		t.Date, t.Processor, t.Cores, t.Memory, t.FileSystem, t.Go, t.Load)
}

// Load is the machine's, of the last minute; 0 if it cannot be known.
func Load() (load float64) {
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Sscan(string(text), &load) // for people only
	}
	return load
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // for people only
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	if _, model, ok := strings.Cut(line, ":"); ok {
		return strings.TrimSpace(model)
	}
	return runtime.GOARCH
}

func memory() string {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%d GiB", (info.Totalram*uint64(info.Unit)+1<<29)>>30)
}

func fileSystem(dir string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "stat", "-f", "-c", "%T", dir).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

var number = regexp.MustCompile(`\d+\.\d+[-.0-9a-z]*`)

// Version runs a program that prints its version and returns the number, or the last word if there is none.
func Version(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", name, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	words := strings.Fields(line)
	if len(words) == 0 {
		return "", fmt.Errorf("ask %s for its version: it says nothing", name)
	}
	if v := number.FindString(line); v != "" {
		return v, nil
	}
	return words[len(words)-1], nil
}
