package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// Every command says what it does in a line, and shows how it is called.
func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	parser, err := newParser(&CLI{})
	if err != nil {
		t.Fatal(err)
	}
	leaves := 0
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if n, ok := node.(*kong.Node); ok && n.Type == kong.CommandNode {
			if n.Help == "" || !strings.HasSuffix(n.Help, ".") {
				t.Errorf("%s: its line is %q", n.FullPath(), n.Help)
			}
			if n.Leaf() {
				leaves++
				if !strings.Contains(n.Detail, n.FullPath()) {
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
