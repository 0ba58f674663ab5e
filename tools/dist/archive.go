package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// archive writes gpdedup_VERSION_linux_ARCH.tar.gz: one directory, with the program in it
// and everything else where a person finds it.
func (r *release) archive(arch string, files []file) error {
	top := fmt.Sprintf("gpdedup_%s_linux_%s", r.version, arch)
	var short []file
	for _, f := range files {
		f.path = path.Join(top, shortPath(f.path))
		short = append(short, f)
	}
	content, err := r.tar(short)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, top+".tar.gz"), compressed(content), 0o644) //nolint:gosec // for everybody
}

// shortPath is where a file of a package lies in the archive.
func shortPath(p string) string {
	for _, c := range []struct{ from, to string }{
		{"usr/bin/", ""}, {docDir + "/", ""}, {"usr/share/man/", "man/"}, {"usr/lib/systemd/system/", "systemd/"},
	} {
		if rest, found := strings.CutPrefix(p, c.from); found {
			return c.to + rest
		}
	}
	return "completions/" + path.Base(p)
}

// tar returns a tar archive of files, sorted, all of it root's.
func (r *release) tar(files []file) ([]byte, error) {
	files = slices.Clone(files)
	for _, dir := range directories(files) {
		files = append(files, file{path: dir + "/", mode: os.ModeDir | 0o755})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{
			Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: f.path, Mode: int64(f.mode.Perm()),
			Size: int64(len(f.content)), ModTime: r.time, Uname: "root", Gname: "root",
		}
		if f.mode.IsDir() {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil { // writes the end
		return nil, err
	}
	return b.Bytes(), nil
}
