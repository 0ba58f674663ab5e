package main

import (
	"archive/tar"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPackageVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"1.2.0":            "1.2.0",
		"1.2.0-3-gabcdef1": "1.2.0+3.gabcdef1",
		"1.2.0-rc.1":       "1.2.0~rc.1",
		"1.2.0-dirty":      "1.2.0~dirty",
		"abcdef1":          "0~git.abcdef1",
		"1234567-dirty":    "0~git.1234567.dirty",
	} {
		if got := packageVersion(version); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}

// What order files come in, and whose they are here, makes no difference.
func TestArchivesAreReproducible(t *testing.T) {
	t.Parallel()
	r := &release{version: "1.2.0", time: time.Unix(1_700_000_000, 0).UTC()}
	files := []file{
		{"usr/bin/gpdedup", 0o755, []byte("program")},
		{"usr/share/man/man1/gpdedup.1.gz", 0o644, compressed([]byte("page"))},
		{docDir + "/README.md", 0o644, []byte("read me")},
	}
	first, err := r.tar(files)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	again, err := r.tar(files)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(compressed(first), compressed(again)) {
		t.Error("two archives of the same files differ")
	}
	if !bytes.HasSuffix(first, make([]byte, 1024)) {
		t.Error("the archive has no end")
	}
	var names []string
	for tr := tar.NewReader(bytes.NewReader(first)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "root" || !h.ModTime.Equal(r.time) {
			t.Errorf("%s: %+v", h.Name, h)
		}
	}
	if !slices.IsSorted(names) || !slices.Contains(names, "usr/share/man/man1/") {
		t.Errorf("names: %q", names)
	}
}

func TestShortPaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"usr/bin/gpdedup":                         "gpdedup",
		"usr/share/man/man1/gpdedup.1.gz":         "man/man1/gpdedup.1.gz",
		docDir + "/docs/s3.md":                    "docs/s3.md",
		docDir + "/LICENSE":                       "LICENSE",
		"usr/share/zsh/site-functions/_gpdedup":   "completions/_gpdedup",
		"usr/lib/systemd/system/gpdedup@.service": "systemd/gpdedup@.service",
	} {
		if got := shortPath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// Every file is in the list, with its mode, and nothing is run when it is installed.
func TestSpec(t *testing.T) {
	t.Parallel()
	spec := rpmSpec("1.2.0", "/stage", []file{{path: "usr/bin/gpdedup", mode: 0o755}, {path: docDir + "/LICENSE", mode: 0o644}})
	for _, want := range []string{"Version: 1.2.0\n", "%attr(755,root,root) /usr/bin/gpdedup\n", "%license %attr(644,root,root) /" + docDir + "/LICENSE\n"} {
		if !strings.Contains(spec, want) {
			t.Errorf("the spec lacks %q", want)
		}
	}
	if strings.Contains(spec, "%post") {
		t.Error("the package runs something")
	}
}
