package main

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const errExit = "the page was printed"

// helpPage is what a parser prints for a command line that asks for help.
func helpPage(t *testing.T, parser *kong.Kong, args []string) (text string) {
	t.Helper()
	var out bytes.Buffer
	parser.Stdout, parser.Stderr = &out, &out
	parser.Exit = func(int) { panic(errExit) }
	defer func() {
		if r := recover(); r != nil && r != errExit {
			panic(r)
		}
		text = out.String()
	}()
	_, err := parser.Parse(args)
	t.Fatalf("%q asks for no help: %v", args, err)
	return ""
}

// TestNarrowParserIsTheParser: what knows only the commands that a line needs prints the
// same pages, complains in the same words, and reads the same.
func TestNarrowParserIsTheParser(t *testing.T) {
	t.Parallel()
	whole, err := newParser(&CLI{})
	if err != nil {
		t.Fatal(err)
	}
	var commands [][]string
	err = kong.Visit(whole.Model, func(node kong.Visitable, next kong.Next) error {
		if n, ok := node.(*kong.Node); ok && n.Type == kong.CommandNode {
			commands = append(commands, strings.Fields(n.Path()))
		}
		return next(nil)
	})
	if err != nil || len(commands) < 20 {
		t.Fatalf("%d commands, %v", len(commands), err)
	}
	narrowed := 0
	for _, words := range commands {
		words = slices.DeleteFunc(words, func(w string) bool { return strings.ContainsAny(w, "<[") })
		both := func() (all, some *kong.Kong, a, b *CLI) {
			a, b = &CLI{}, &CLI{}
			all, err := newParser(a)
			if err != nil {
				t.Fatal(err)
			}
			if some, err = narrowParser(b, words); err != nil {
				t.Fatal(err)
			}
			if len(some.Model.Children) < len(all.Model.Children) {
				narrowed++
			}
			return all, some, a, b
		}
		all, some, _, _ := both()
		if want, got := helpPage(t, all, append(words, "--help")), helpPage(t, some, append(words, "--help")); got != want {
			t.Errorf("%q: help is\n%s\nnot\n%s", words, got, want)
		}
		for _, rest := range [][]string{
			nil,
			{"x", "y"},
			{"--repo", "/r", "--json", "-q", "x"},
			{"--rep", "x"},
			{"--timeout=1s", "--", "-x"},
			{"--cluster", "c", "--content=-1", "a", "b"},
			{"--endpoint", "http://h", "--dry-run", "--keep-daily", "7"},
		} {
			all, some, a, b := both()
			args := append(slices.Clone(words), rest...)
			_, wrongA := all.Parse(args)
			_, wrongB := some.Parse(args)
			if (wrongA == nil) != (wrongB == nil) || wrongA != nil && parseError(wrongA, args).Error() != parseError(wrongB, args).Error() {
				t.Errorf("%q: %v, not %v", args, wrongB, wrongA)
			}
			_, _, want := commandOf(a, words[0])
			_, _, got := commandOf(b, words[0])
			if !reflect.DeepEqual(a.Globals, b.Globals) || !reflect.DeepEqual(got, want) {
				t.Errorf("%q is read as %+v, not %+v", args, got, want)
			}
		}
	}
	if narrowed < len(commands) {
		t.Errorf("only %d parsers were narrow", narrowed)
	}
}

// TestPlainCommandIsTheCommand: lines that are read without a parser are read as one
// reads them.
func TestPlainCommandIsTheCommand(t *testing.T) {
	t.Parallel()
	plain := 0
	for _, name := range []string{
		"backup_data", "restore_data", "backup_file", "restore_file", "restore_data_subset", "setup_plugin_for_backup",
		"delete_backup", "list_directory", "plugin_api_version",
	} {
		for _, args := range [][]string{
			{name},
			{name, "c"},
			{name, "c", "p"},
			{name, "", "p"},
			{name, "c", ""},
			{name, "-c", "--"},
			{name, "--help", "-1"},
			{name, "c", "p", "x"},
			{name, "${x}", "a=b,c"},
		} {
			got := plainCommand(args)
			if got == nil {
				continue
			}
			plain++
			parser, err := newPluginParser()
			if err != nil {
				t.Fatal(err)
			}
			if _, err = parser.Parse(escapePluginArgs(args)); err != nil {
				t.Errorf("%q is read as %+v, not refused: %v", args, got, err)
				continue
			}
			for _, node := range parser.Model.Children {
				if node.Name != name {
					continue
				}
				if want := node.Target.Addr().Interface(); !reflect.DeepEqual(got, want) {
					t.Errorf("%q is read as %#v, not %#v", args, got, want)
				}
			}
		}
	}
	if plain < 4*4 {
		t.Errorf("only %d lines were plain", plain)
	}
}

// TestPluginCommandNames: the words that make a line gpbackup's are the parser's.
func TestPluginCommandNames(t *testing.T) {
	t.Parallel()
	parser, err := newPluginParser()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range parser.Model.Children {
		if !isPluginCommand(node.Name) {
			t.Errorf("%s is none", node.Name)
		}
	}
	for _, word := range []string{"", "version", "wal", "cmd", "--help", "Version"} {
		if isPluginCommand(word) {
			t.Errorf("%s is one", word)
		}
	}
	if !isPluginCommand("--version") {
		t.Error("--version is none")
	}
}
