package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
)

// usageError returns an error that the user can only mend by asking otherwise, and
// says how.
func usageError(text, hint string) error {
	err := plugin.Usage(errors.New(text))
	if hint != "" {
		err = repo.WithHint(err, hint)
	}
	return err
}

// parseError turns kong's complaint into one of ours, which says what was being
// asked and where help is to be found.
func parseError(err error, args []string) error {
	// A help page is written while the command line is read.
	if write := (*fs.PathError)(nil); errors.As(err, &write) && write.Op == "write" {
		return fmt.Errorf("print help: %w", write)
	}
	command := ""
	var p *kong.ParseError
	if errors.As(err, &p) {
		for _, step := range p.Context.Path {
			if step.Command != nil {
				command += step.Command.Name + " "
			}
		}
	}
	command = strings.TrimSpace(command)
	text, guess := suggest(err, args)
	text += guess
	if command != "" {
		text = command + ": " + text
	}
	return usageError(text, strings.Join(strings.Fields("gpdedup "+command+" --help"), " "))
}

// oneLine makes what comes from names and errors fit on a line, and keeps control
// characters off the terminal.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) { // those above 0x7f begin sequences, too
			return '?'
		}
		return r
	}, s)
}
