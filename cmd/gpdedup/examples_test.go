package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/grammar"
	"github.com/gpdedup/gpdedup/plugin"
)

// Every call of the program in the examples of the help pages, and in the blocks of the
// documents, is one that this version takes.
func TestExamplesAreTaken(t *testing.T) {
	t.Parallel()
	root, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	try := func(where, line string) {
		for _, args := range callsIn(line) {
			calls++
			if len(args) > 0 && isPluginName(args[0]) {
				continue
			}
			parser, err := narrowParser(&CLI{}, args)
			if err != nil {
				t.Fatal(err)
			}
			parser.Exit = func(int) {} // of --help
			parser.Stdout, parser.Stderr = nil, nil
			if _, err := parser.Parse(joinContent(args)); err != nil {
				t.Errorf("%s: %s: %v", where, strings.TrimSpace(line), parseError(err, args))
			}
		}
	}
	root.Each(func(c *grammar.Command) {
		for line := range strings.Lines(c.Detail) {
			if strings.HasPrefix(line, "\t") {
				try(c.FullPath()+" --help", line)
			}
		}
	})
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
			if strings.HasPrefix(line, "    ") {
				try(filepath.Base(page), line)
			}
		}
	}
	if calls < 150 {
		t.Errorf("only %d calls were found", calls)
	}
}

// Every configuration in the documents is one.
func TestConfigurationsInDocuments(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile(`(?m)^    executablepath: .*\n(^    .*\n)+`).FindAllString(string(text), -1) {
			found++
			block, _, _ = strings.Cut(strings.ReplaceAll("\n"+block, "\n    ", "\n"), "\nYAML")
			block = strings.NewReplacer("$HOME", "/home/gpadmin", "$(command -v gpdedup)", "/usr/bin/gpdedup").Replace(block)
			path := filepath.Join(t.TempDir(), "gpdedup.yaml")
			if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := plugin.LoadConfig(path); err != nil {
				t.Errorf("%s: %v\n%s", filepath.Base(page), err, block)
			}
		}
	}
	if found < 3 {
		t.Errorf("only %d configurations were found", found)
	}
}

// callsIn returns the arguments of each call of the program in a line of shell. What is
// left out, by … or [ ], cannot be judged.
func callsIn(line string) (calls [][]string) {
	if strings.Contains(line, "…") || strings.Contains(line, " [") || strings.Contains(line, "cmd/gpdedup") {
		return nil
	}
	// Settings of PostgreSQL have the command in quotes, a substitution has it in $( ).
	line = regexp.MustCompile(`^\s*\w+_command = '(.*)'.*`).ReplaceAllString(line, "$1")
	line = regexp.MustCompile(`\$\((command -v |newest=)?`).ReplaceAllString(line, "; ")
	for _, call := range splitShell(line) {
		for len(call) > 0 && strings.Contains(call[0], "=") { // variables
			call = call[1:]
		}
		if len(call) > 1 && filepath.Base(call[0]) == "gpdedup" {
			calls = append(calls, call[1:])
		}
	}
	return calls
}

// splitShell takes a line apart into commands and their words; redirections, comments
// and quotes go.
func splitShell(line string) (commands [][]string) {
	var words []string
	var word strings.Builder
	quote, some, redirected := rune(0), false, false
	end := func() {
		if some && !redirected {
			words = append(words, word.String())
		}
		if some {
			redirected = false
		}
		word.Reset()
		some = false
	}
	next := func() {
		end()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words, redirected = nil, false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, some = r, true
		case r == '#' && !some:
			next()
			return commands
		case r == '<' || r == '>':
			end()
			redirected = true
		case strings.ContainsRune("|;&()", r):
			next()
		case r == ' ' || r == '\t' || r == '\n':
			end()
		default:
			word.WriteRune(r)
			some = true
		}
	}
	next()
	return commands
}

func isPluginName(word string) bool {
	for _, name := range pluginNames() {
		if name == word {
			return true
		}
	}
	return false
}
