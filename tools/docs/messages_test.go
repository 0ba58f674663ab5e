package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// message is what the program may say, with … in place of what differs each time.
type message struct {
	text  string
	where string // file and line
	told  bool   // it is made for users: a sentinel, an error with a hint, or one of usage
}

var verb = regexp.MustCompile(`%[-+#0]*[0-9.]*[a-zA-Z]`)

// messages are those of the program's sources.
func messages(t *testing.T) []message {
	t.Helper()
	var all []message
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "bench", "tools", "plugintest", "testdata", "pgtest", "fetchtest", "pushtest", "basetest", "storagetest", "s3test", "build", ".git":
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, messagesOf(fset, f)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// messagesOf finds every text of the file, and which of them are made for users.
func messagesOf(fset *token.FileSet, f *ast.File) []message {
	told := map[token.Pos]bool{}
	mark := func(n ast.Expr) {
		if lit := format(n); lit != nil {
			told[lit.Pos()] = true
		}
	}
	for _, decl := range f.Decls {
		if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, spec := range g.Specs {
				for i, v := range spec.(*ast.ValueSpec).Values {
					if name := spec.(*ast.ValueSpec).Names[i].Name; strings.HasPrefix(name, "Err") || strings.HasPrefix(name, "err") {
						mark(v)
					}
				}
			}
		}
	}
	var all []message
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch name(n.Fun) {
			case "WithHint", "usageError", "Usage", "usagef":
				mark(n.Args[0])
			}
		case *ast.KeyValueExpr: // refusal{text: …}, which has a hint
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "text" {
				mark(n.Value)
			}
		case *ast.FuncDecl:
			if n.Name.Name == "Error" && n.Recv != nil {
				ast.Inspect(n, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok && name(call.Fun) == "Sprintf" {
						mark(call.Args[0])
					}
					return true
				})
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
				text = strings.ReplaceAll(verb.ReplaceAllString(text, "…"), "%%", "%")
				all = append(all, message{text, fset.Position(n.Pos()).String(), told[n.Pos()]})
			}
		}
		return true
	})
	return all
}

// format returns the text of an error: "x" itself, errors.New("x"), fmt.Errorf("x", …),
// or the first literal of a sum.
func format(n ast.Expr) *ast.BasicLit {
	switch n := n.(type) {
	case *ast.BasicLit:
		return n
	case *ast.BinaryExpr:
		if lit := format(n.X); lit != nil {
			return lit
		}
		return format(n.Y)
	case *ast.CallExpr:
		switch name(n.Fun) {
		case "New", "Errorf", "Sprintf", "Usage", "usageError", "usagef":
			return format(n.Args[0])
		}
	}
	return nil
}

func name(fun ast.Expr) string {
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
