package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// file is one of those that a package has, at its path in the system.
type file struct {
	path    string // without the first slash
	mode    os.FileMode
	content []byte
}

const docDir = "usr/share/doc/gpdedup"

// sharedFiles are all but the program.
func (r *release) sharedFiles(program string) ([]file, error) {
	var files []file
	add := func(path string, content []byte) { files = append(files, file{path, 0o644, content}) }
	for _, c := range []struct{ shell, path string }{
		{"bash", "usr/share/bash-completion/completions/gpdedup"},
		{"zsh", "usr/share/zsh/site-functions/_gpdedup"},
		{"fish", "usr/share/fish/vendor_completions.d/gpdedup.fish"},
	} {
		script, err := exec.Command(program, "completion", c.shell).Output()
		if err != nil {
			return nil, fmt.Errorf("make completion for %s: %w", c.shell, err)
		}
		add(c.path, script)
	}
	pages := filepath.Join(r.scratch, "man")
	if err := run(exec.Command(program, "man", "--dir", pages)); err != nil {
		return nil, err
	}
	for _, c := range []struct{ from, to string }{
		{pages + "/*.1", "usr/share/man/man1/"},
		{"packaging/systemd/*", "usr/lib/systemd/system/"},
		{"packaging/gpdedup.yaml", docDir + "/examples/"},
		{"packaging/repository.env", docDir + "/examples/"},
		{"README.md", docDir + "/"},
		{"LICENSE", docDir + "/"},
	} {
		paths, err := filepath.Glob(c.from)
		if err != nil || len(paths) == 0 {
			return nil, fmt.Errorf("%s: nothing is there", c.from)
		}
		for _, p := range paths {
			content, err := os.ReadFile(p)
			if err != nil {
				return nil, err
			}
			name := filepath.Base(p)
			if strings.HasSuffix(p, ".1") {
				content, name = compressed(content), name+".gz"
			}
			add(c.to+name, content)
		}
	}
	err := filepath.WalkDir("docs", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(p)
		add(docDir+"/"+filepath.ToSlash(p), content)
		return err
	})
	if err != nil {
		return nil, err
	}
	licences, err := licencesOfOthers()
	if err != nil {
		return nil, err
	}
	add(docDir+"/THIRD_PARTY_LICENSES", licences)
	return files, nil
}

// compressed is content as `gzip -9n` has it.
func compressed(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level exists
	_, _ = w.Write(content)                               // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// licencesOfOthers are the texts that come with the modules that are linked in, as most
// of them ask for.
func licencesOfOthers() ([]byte, error) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/gpdedup")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list modules: %w", err)
	}
	modules := strings.Fields(strings.ReplaceAll(string(out), " ", "@"))
	var pairs []string
	for i := 0; i+1 < len(modules); i += 2 {
		pairs = append(pairs, modules[i]+" "+modules[i+1])
	}
	slices.Sort(pairs)
	var all strings.Builder
	all.WriteString("gpdedup is linked with these modules; the licence of each follows its name.\n")
	for _, pair := range slices.Compact(pairs) {
		module, dir, _ := strings.Cut(pair, " ")
		fmt.Fprintf(&all, "\n==== %s\n", module)
		found := false
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := strings.ToUpper(e.Name())
			if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "NOTICE") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&all, "\n%s\n", text)
			found = true
		}
		if !found {
			return nil, fmt.Errorf("%s: no licence is in %s", module, dir)
		}
	}
	return []byte(all.String()), nil
}

// directories returns the paths of those that files lie in, each before what is in it.
func directories(files []file) []string {
	var dirs []string
	for _, f := range files {
		for dir := path.Dir(f.path); dir != "."; dir = path.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// stage writes files below dir, with the release's time, as packaging programs take them.
func (r *release) stage(dir string, files []file) error {
	for _, f := range files {
		target := filepath.Join(dir, f.path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // for everybody
			return err
		}
		if err := os.WriteFile(target, f.content, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(target, f.mode); err != nil { // whatever the umask
			return err
		}
		if err := os.Chtimes(target, r.time, r.time); err != nil {
			return err
		}
	}
	for _, d := range append(directories(files), ".") { // the umask must not show
		if err := os.Chmod(filepath.Join(dir, d), 0o755); err != nil { //nolint:gosec // for everybody
			return err
		}
	}
	return nil
}
