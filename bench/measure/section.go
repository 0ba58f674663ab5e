//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// replaceSection puts the section between the markers of its name in a Markdown file. With nil it only makes sure that it
// could.
func replaceSection(path, name string, section []byte) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Appendf(nil, "<!-- %s:begin -->\n", name), fmt.Appendf(nil, "<!-- %s:end -->", name)
	before, rest, ok := bytes.Cut(text, begin)
	_, after, closed := bytes.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("update %s: it has no lines %q and %q", path, bytes.TrimSpace(begin), end)
	}
	if section == nil {
		return nil
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, begin, section, end, after}, nil), 0o644)
}

// machine says what the figures were taken on and with, and nothing that names the machine or a path on it.
func (b *bench) machine() string {
	var load [3]float64
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &load[0], &load[1], &load[2]) // for people only
	}
	return fmt.Sprintf("Taken on %s: %s, %d cores, %s, file system %s, load %.1f at the end.\n%s, %s, %s. %d rounds, %d\nfor streams of 1 KB: the median, and in brackets the least and the greatest.",
		time.Now().UTC().Format("2006-01-02"), cpuModel(), runtime.NumCPU(), memorySize(), fileSystem(b.dir), load[0],
		b.version(), strings.Replace(runtime.Version(), "go", "Go ", 1), firstLine("zstd", "--version"), b.set.rounds, b.set.smallRounds)
}

// version is gpdedup's, whatever the file is called.
func (b *bench) version() string {
	words := strings.Fields(firstLine(b.exe, "--version"))
	return "gpdedup " + words[len(words)-1]
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // for people only
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	if _, model, ok := strings.Cut(line, ":"); ok {
		return strings.TrimSpace(model)
	}
	return runtime.GOARCH
}

func memorySize() string {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%d GiB", info.Totalram*uint64(info.Unit)>>30)
}

func fileSystem(dir string) string { return firstLine("stat", "-f", "-c", "%T", dir) }

// firstLine is the first line that a command prints.
func firstLine(name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return name + " unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.Trim(strings.TrimSpace(line), "* ")
}
