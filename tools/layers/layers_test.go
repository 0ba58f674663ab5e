// Package layers keeps the imports of this repository pointing one way:
//
//	cmd → plugin, wal → repo → index, chunking, delta, columns → storage → digest
//	cmd, plugin → metrics
//
// A package belongs to the layer that its first folder names. It may import its
// own layer and those that mayImport lists for it, nothing else of this module.
// Tests, bench and tools may import anything and are imported by nobody. The
// same arrows stand in .golangci.yml, for whoever lints while writing; here they
// need no linter.
package layers

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	module = "github.com/gpdedup/gpdedup"
	root   = "../.."
)

// anything marks a layer above all others.
const anything = "anything"

var mayImport = map[string][]string{
	"digest":   {},
	"storage":  {"digest"},
	"index":    {"storage", "digest"},
	"chunking": {"storage", "digest"},
	"delta":    {"storage", "digest"},
	"columns":  {},
	"repo":     {"index", "chunking", "delta", "columns", "storage", "digest"},
	"metrics":  {},
	"plugin":   {"metrics", "repo", "index", "chunking", "delta", "columns", "storage", "digest"},
	"wal":      {"repo", "index", "chunking", "delta", "columns", "storage", "digest"},
	"cmd":      {"plugin", "wal", "metrics", "repo", "index", "chunking", "delta", "columns", "storage", "digest"},
	"bench":    {anything},
	"tools":    {anything},
}

// graph has the imports of every package, both as paths below the module.
type graph map[string][]string

// wrong lists the imports of g that mayImport does not allow.
func wrong(g graph) []string {
	var found []string
	for _, from := range slices.Sorted(maps.Keys(g)) {
		allowed, known := mayImport[layer(from)]
		if !known {
			found = append(found, fmt.Sprintf("%s is in no layer: say in tools/layers what it may import", from))
			continue
		}
		for _, to := range g[from] {
			own := layer(to) == layer(from)
			if !own && !slices.Contains(allowed, anything) && !slices.Contains(allowed, layer(to)) {
				found = append(found, fmt.Sprintf("%s must not import %s", from, to))
			}
		}
	}
	return found
}

func layer(pkg string) string {
	first, _, _ := strings.Cut(pkg, "/")
	return first
}

// read collects the imports of all Go files below dir but tests, whatever their
// build constraints. It skips what the go command skips for ./..., and modules
// within the module.
//
// It parses rather than asks `go list`, which sees one platform and one set of
// tags only; and what a test itself reads makes `go test` run it again when it
// changes.
func read(dir string) (graph, error) {
	g := graph{}
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file == dir {
				return nil
			}
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			if err == nil || name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		pkg, err := filepath.Rel(dir, filepath.Dir(file))
		if err != nil {
			return err
		}
		imports, err := importsOf(file)
		if err != nil {
			return err
		}
		g[filepath.ToSlash(pkg)] = append(g[filepath.ToSlash(pkg)], imports...)
		return nil
	})
	for pkg := range g {
		slices.Sort(g[pkg])
		g[pkg] = slices.Compact(g[pkg])
	}
	return g, err
}

// importsOf lists what a file imports of this module.
func importsOf(file string) ([]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var imports []string
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", file, spec.Path.Value, err)
		}
		if imported == module {
			imports = append(imports, ".")
		} else if pkg, ours := strings.CutPrefix(imported, module+"/"); ours {
			imports = append(imports, pkg)
		}
	}
	return imports, nil
}

func TestImportsPointOneWay(t *testing.T) {
	g, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	// Were the module renamed, no import would be seen as one of its own.
	if mod, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil || !strings.Contains(string(mod), "module "+module+"\n") {
		t.Fatalf("%s is not the module in %s: %v", module, root, err)
	}
	for _, message := range wrong(g) {
		t.Error(message)
	}
}

func TestWrong(t *testing.T) {
	const imports = " must not import "
	tests := []struct {
		name string
		from string
		to   string
		want string // "" is allowed
	}{
		{"down one layer", "storage/local", "digest", ""},
		{"down many layers", "cmd/gpdedup", "digest", ""},
		{"within a layer", "repo/collect", "repo/pack", ""},
		{"the command line reads the repository", "cmd/gpdedup", "repo", ""},
		{"the plugin writes to the repository", "plugin", "repo/pack", ""},
		{"measurements see all", "bench/demo", "cmd/gpdedup", ""},
		{"tools see all", "tools/layers", "plugin", ""},

		{"digest knows nobody", "digest", "storage", "digest" + imports + "storage"},
		{"storage knows no index", "storage/s3", "index", "storage/s3" + imports + "index"},
		{"storage knows no repository", "storage/s3", "repo/seal", "storage/s3" + imports + "repo/seal"},
		{"chunking knows no index", "chunking", "index", "chunking" + imports + "index"},
		{"index knows no chunking", "index", "chunking", "index" + imports + "chunking"},
		{"delta knows no index", "delta", "index", "delta" + imports + "index"},
		{"index knows no repository", "index", "repo", "index" + imports + "repo"},
		{"the repository knows no plugin", "repo", "plugin", "repo" + imports + "plugin"},
		{"nor does a package below it", "repo/collect", "wal", "repo/collect" + imports + "wal"},
		{"the repository knows no command line", "repo", "cmd/gpdedup", "repo" + imports + "cmd/gpdedup"},
		{"plugin knows no wal", "plugin", "wal", "plugin" + imports + "wal"},
		{"wal knows no plugin", "wal/spool", "plugin", "wal/spool" + imports + "plugin"},
		{"nobody knows the measurements", "cmd/gpdedup", "bench/demo", "cmd/gpdedup" + imports + "bench/demo"},
		{"nobody knows the root", "repo", ".", "repo" + imports + "."},
		{"a name that only begins alike", "repo", "indexes", "repo" + imports + "indexes"},
		{"a new folder needs a place", "helper", "digest", "helper is in no layer: say in tools/layers what it may import"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			if got := wrong(graph{test.from: {test.to}}); !slices.Equal(got, want) {
				t.Errorf("%s imports %s: got %q, want %q", test.from, test.to, got, want)
			}
		})
	}
}

// The table itself must have no circle, or two layers would not be layers.
func TestTableIsAcyclic(t *testing.T) {
	for from, imports := range mayImport {
		for _, to := range imports {
			if to == anything {
				continue
			}
			below, known := mayImport[to]
			if !known {
				t.Errorf("%s may import %s, which is no layer", from, to)
			}
			for _, further := range below {
				if further == from || !slices.Contains(imports, further) {
					t.Errorf("%s may import %s and that %s, but %s not %s", from, to, further, from, further)
				}
			}
		}
	}
}

func TestRead(t *testing.T) {
	const one, two = `import _ "` + module + `/digest"`, `import ("fmt"; x "` + module + `/index"; _ "` + module + `")`
	files := map[string]string{
		"storage/storage.go":       "package storage\n" + one,
		"storage/soak.go":          "//go:build soak\n\npackage storage\n" + two,
		"storage/again.go":         "package storage\n" + one,
		"storage/storage_test.go":  "package storage\nimport _ \"" + module + "/repo\"",
		"digest/digest.go":         "package digest",
		"storage/testdata/data.go": "package data\n" + two,
		".hidden/hidden.go":        "package hidden\n" + two,
		"_old/old.go":              "package old\n" + two,
		"other/go.mod":             "module other",
		"other/other.go":           "package other\n" + two,
	}
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := graph{"digest": nil, "storage": {".", "digest", "index"}}
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestLinterAgrees compares the table with the depguard rules of .golangci.yml.
func TestLinterAgrees(t *testing.T) {
	type rule struct {
		Mode  string `yaml:"list-mode"`
		Files []string
		Deny  []struct{ Pkg string }
		Allow []string
	}
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct{ Rules map[string]rule }
			}
		}
	}
	content, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &config); err != nil {
		t.Fatal(err)
	}
	rules := config.Linters.Settings.Depguard.Rules
	for from, imports := range mayImport {
		got, listed := rules[from]
		delete(rules, from)
		if slices.Contains(imports, anything) {
			if listed {
				t.Errorf("%s may import anything, but has a rule", from)
			}
			continue
		}
		allow := []string{path.Join(module, from)}
		for _, to := range imports {
			allow = append(allow, path.Join(module, to))
		}
		slices.Sort(allow)
		slices.Sort(got.Allow)
		files := []string{"${config-path}/" + from + "/**", "!$test"}
		if got.Mode != "lax" || len(got.Deny) != 1 || got.Deny[0].Pkg != module || !slices.Equal(got.Files, files) || !slices.Equal(got.Allow, allow) {
			t.Errorf("rule %s: got %+v; want lax, files %q, deny %s, allow %q", from, got, files, module, allow)
		}
	}
	for name := range rules {
		t.Errorf("rule %s is for no layer", name)
	}
}
