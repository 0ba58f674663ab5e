package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/grammar"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
)

// Every command says what it does in a line, and shows how it is called; every flag and
// every argument says what it is.
func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	parser, err := newParser(&CLI{})
	if err != nil {
		t.Fatal(err)
	}
	leaves := 0
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		n, ok := node.(*kong.Node)
		if !ok {
			return next(nil)
		}
		for _, f := range n.Flags {
			explained(t, n.FullPath()+" --"+f.Name, f.Help)
		}
		for _, arg := range n.Positional {
			explained(t, n.FullPath()+" "+arg.Name, arg.Help)
		}
		if n.Type == kong.CommandNode {
			explained(t, n.FullPath(), n.Help)
			if n.Leaf() {
				leaves++
				if !strings.Contains(n.Detail, "\t"+n.FullPath()) && !strings.Contains(n.Detail, n.FullPath()+" ") {
					t.Errorf("%s: its page has no example of it", n.FullPath())
				}
			} else if len(n.Children) == 0 {
				t.Errorf("%s: an empty group", n.FullPath())
			}
		}
		return next(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	if leaves < 10 {
		t.Errorf("only %d commands were looked at", leaves)
	}
}

func explained(t *testing.T, what, help string) {
	t.Helper()
	if !strings.HasSuffix(help, ".") && !strings.HasSuffix(help, ")") {
		t.Errorf("%s: its line is %q", what, help)
	}
}

// What completion offers as values is what the commands take, and what its tag says is
// what a shell can do something with.
func TestOfferedValuesAreTaken(t *testing.T) {
	t.Parallel()
	root, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	takes := map[string]func(string) error{
		"--compression": func(s string) error { _, err := compress.ParseLevel(s); return err },
		"--delta":       func(s string) error { _, err := repo.ParseDeltaMode(s); return err },
	}
	offers := 0
	root.Each(func(c *grammar.Command) {
		for _, f := range c.Flags {
			if strings.ContainsAny(strings.Join(f.OneOf, ""), " :'") {
				t.Errorf("%s --%s: %q are no words that shells complete", c.FullPath(), f.Name, f.OneOf)
			}
			for _, value := range f.OneOf {
				if take := takes["--"+f.Name]; take != nil {
					offers++
					if err := take(value); err != nil {
						t.Errorf("%s --%s: %v", c.FullPath(), f.Name, err)
					}
				}
			}
		}
	})
	if offers < 8 {
		t.Errorf("only %d values were tried", offers)
	}
	// Flags before a command are skipped by their names alone.
	valued, switches := map[string]bool{}, map[string]bool{}
	root.Each(func(c *grammar.Command) {
		for _, f := range c.Flags {
			if !c.Leaf() {
				for _, word := range f.Words() {
					if f.Kind == grammar.None {
						switches[word] = true
					} else {
						valued[word] = true
					}
				}
			}
		}
	})
	for word := range valued {
		if switches[word] {
			t.Errorf("%s takes a value in one group and none in another", word)
		}
	}
	if !slices.Contains(pluginNames(), "backup_data") {
		t.Error("what gpbackup calls is never suggested")
	}
}
