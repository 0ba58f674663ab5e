package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/grammar"
	"github.com/gpdedup/gpdedup/repo/spelling"
)

// suggest says what may have been meant, to be put behind kong's complaint, whose own
// guess is taken off it. It knows of all commands, whatever part of them was parsed.
func suggest(err error, args []string) (text, guess string) {
	text, _, _ = strings.Cut(err.Error(), ", did you mean ")
	root, rootErr := commandLine()
	if rootErr != nil {
		return text, ""
	}
	at := reached(root, err)
	if word, found := strings.CutPrefix(text, "unexpected argument "); found {
		return text, meantCommand(root, at, word)
	}
	if word, found := strings.CutPrefix(text, "unknown flag "); found {
		return text, meantFlag(root, at, word, args)
	}
	// --flag must be one of "a","b" but got "c"
	if m := regexp.MustCompile(`must be one of (".*") but got "(.*)"$`).FindStringSubmatch(text); m != nil {
		known := strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == '"' })
		return text, spelling.DidYouMean(m[2], known)
	}
	return text, ""
}

// reached returns the command that was read when the parser gave up.
func reached(root *grammar.Command, err error) *grammar.Command {
	at := root
	var p *kong.ParseError
	if !errors.As(err, &p) {
		return at
	}
	for _, step := range p.Context.Path {
		if step.Command == nil {
			continue
		}
		for _, child := range at.Commands {
			if child.Name == step.Command.Name {
				at = child
				break
			}
		}
	}
	return at
}

// meantCommand looks for word among the commands there, then among all: 'gpdedup check'
// is one of 'repo check' and 'wal check'.
func meantCommand(root, at *grammar.Command, word string) string {
	if at.Leaf() {
		return ""
	}
	var here, elsewhere []string
	for _, child := range at.Commands {
		here = append(here, child.Name)
	}
	root.Each(func(c *grammar.Command) {
		if c.Name == word && c.Path != "" {
			elsewhere = append(elsewhere, c.Path)
		}
	})
	if len(elsewhere) > 0 {
		return oneOf(elsewhere)
	}
	if at == root {
		here = append(here, pluginNames()...)
	}
	return spelling.DidYouMean(word, here)
}

// meantFlag looks for a flag that is spelled like word, for one that was given a single
// dash, and for commands that have the flag.
func meantFlag(root, at *grammar.Command, word string, args []string) string {
	var known []string
	for _, f := range at.AllFlags() {
		for _, w := range f.Words() {
			if strings.HasPrefix(w, "--") {
				known = append(known, w)
			}
		}
	}
	if !strings.HasPrefix(word, "--") { // of -config, -c is what the parser complains about
		for _, arg := range args {
			name, _, _ := strings.Cut(arg, "=")
			if strings.HasPrefix(arg, word) && slices.Contains(known, "-"+name) {
				return spelling.DidYouMean("-"+name, known)
			}
		}
		return ""
	}
	if guess := spelling.DidYouMean(word, known); guess != "" {
		return guess
	}
	var others []string
	root.Each(func(c *grammar.Command) {
		for _, f := range c.Flags {
			if slices.Contains(f.Words(), word) {
				others = append(others, c.Path)
			}
		}
	})
	if len(others) == 0 || len(others) > 3 {
		return ""
	}
	return ", which is a flag of " + strings.TrimSuffix(strings.TrimPrefix(oneOf(others), ", did you mean "), "?")
}

// oneOf asks whether one of the words was meant. Of many, the first say enough.
func oneOf(words []string) string {
	more := ""
	if len(words) > 5 {
		words, more = words[:5], ", …"
	}
	for i := range words {
		words[i] = `"` + words[i] + `"`
	}
	last := len(words) - 1
	if last == 0 || more != "" {
		return ", did you mean " + strings.Join(words, ", ") + more + "?"
	}
	return ", did you mean " + strings.Join(words[:last], ", ") + " or " + words[last] + "?"
}

func pluginNames() []string {
	commands, err := pluginCommands()
	if err != nil {
		return nil
	}
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	return names
}
