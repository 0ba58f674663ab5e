// Command dist makes what is released: archives, .deb and .rpm packages, and their
// checksums. The same commit makes the same bytes: times come from --epoch, lists are
// sorted, everything is root's, and nothing says where or by whom it was built.
//
// `make dist` calls it. It takes Debian's dpkg-deb and rpmbuild for their formats.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// release is what all packages of a version have in common.
type release struct {
	version string // as the program says it
	time    time.Time
	out     string // directory
	scratch string // directory, removed at the end
}

func main() {
	r := release{}
	epoch := flag.Int64("epoch", 0, "time of everything in it, in seconds since 1970")
	flag.StringVar(&r.version, "version", "", "version, as 'git describe' says it")
	flag.StringVar(&r.out, "out", "dist", "directory to write; it is made anew")
	arches := flag.String("arch", "amd64,arm64", "architectures, as Go calls them")
	flag.Parse()
	r.version = strings.TrimPrefix(r.version, "v")
	r.time = time.Unix(*epoch, 0).UTC()
	if err := r.make(strings.Split(*arches, ",")); err != nil {
		fmt.Fprintf(os.Stderr, "dist: %v\n", err)
		os.Exit(1)
	}
}

func (r *release) make(arches []string) (err error) {
	if r.version == "" || r.time.Unix() == 0 {
		return fmt.Errorf("--version and --epoch are needed: call it by make dist")
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil { //nolint:gosec // for everybody
		return err
	}
	if r.scratch, err = os.MkdirTemp("", "gpdedup-dist-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.scratch)
	// The pages and the scripts are printed by the program itself, as this host runs it.
	program := filepath.Join(r.scratch, "gpdedup")
	if err := r.build(runtime.GOARCH, program); err != nil {
		return err
	}
	shared, err := r.sharedFiles(program)
	if err != nil {
		return err
	}
	for _, arch := range arches {
		binary := filepath.Join(r.scratch, "gpdedup-"+arch)
		if err := r.build(arch, binary); err != nil {
			return err
		}
		content, err := os.ReadFile(binary)
		if err != nil {
			return err
		}
		files := append(slices.Clone(shared), file{path: "usr/bin/gpdedup", mode: 0o755, content: content})
		for _, pack := range []func(string, []file) error{r.archive, r.deb, r.rpm} {
			if err := pack(arch, files); err != nil {
				return err
			}
		}
	}
	return r.checksums()
}

// build makes the static binary as `make build` does.
func (r *release) build(arch, path string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+r.version, "-o", path, "./cmd/gpdedup")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=-mod=readonly", "GOAMD64=v1", "GOARM64=v8.0")
	return run(cmd)
}

// checksums writes SHA256SUMS, for sha256sum -c.
func (r *release) checksums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries { // sorted
		content, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644) //nolint:gosec // for everybody
}

// packageVersion is the version in the form that dpkg and rpm compare: digits first, and
// no dash. A commit that no tag comes before is older than any release.
func packageVersion(version string) string {
	if version == "" || version[0] < '0' || version[0] > '9' || !strings.Contains(version, ".") {
		return "0~git." + strings.ReplaceAll(version, "-", ".")
	}
	// 1.2.0-rc.1 comes before 1.2.0, and 1.2.0-3-gabcdef after it.
	base, rest, found := strings.Cut(version, "-")
	if !found {
		return version
	}
	sign := "+"
	if rest[0] < '0' || rest[0] > '9' {
		sign = "~"
	}
	return base + sign + strings.ReplaceAll(rest, "-", ".")
}

// run runs a program that is to say nothing but of errors.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}
