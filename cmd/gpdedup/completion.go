package main

import (
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/completion"
	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/grammar"
)

// CompletionCmd is gpdedup completion.
type CompletionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help shows examples.
func (CompletionCmd) Help() string {
	return `Prints a script with which the shell completes commands, flags, their values and
file names. It is part of the packages; without one:

	gpdedup completion bash >~/.local/share/bash-completion/completions/gpdedup
	gpdedup completion zsh >~/.zfunc/_gpdedup        # fpath+=~/.zfunc before compinit
	gpdedup completion fish >~/.config/fish/completions/gpdedup.fish

Examples:

	source <(gpdedup completion bash)
	gpdedup completion fish | source
`
}

// Run prints the script.
func (c *CompletionCmd) Run(g *Globals) error {
	root, err := commandLine()
	if err != nil {
		return err
	}
	script, err := completion.Script(c.Shell, root)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(g.Stdout(), script); err != nil {
		return fmt.Errorf("print completion script: %w", err)
	}
	return nil
}

// commandLine describes all that run takes.
func commandLine() (*grammar.Command, error) {
	parser, err := newParser(&CLI{})
	if err != nil {
		return nil, fmt.Errorf("internal error: %w", err)
	}
	return grammar.Of(parser.Model), nil
}
