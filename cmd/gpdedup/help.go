package main

import (
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// HelpCmd is gpdedup help.
type HelpCmd struct {
	Command []string `arg:"" optional:"" complete:"command" help:"The command to explain."`
}

// Help shows examples.
func (HelpCmd) Help() string {
	return "Examples:\n\n\tgpdedup help\n\tgpdedup help stream put\n\tgpdedup help plugin\n"
}

type pluginHelp struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
	Help      string `json:"help"`
}

// Run prints help pages.
func (c *HelpCmd) Run(g *Globals) error {
	if len(c.Command) == 1 && c.Command[0] == "plugin" {
		return helpPlugin(g)
	}
	parser, err := newParser(&CLI{})
	if err != nil {
		return err
	}
	// kong prints the page and exits.
	if _, err = parser.Parse(append(c.Command, "--help")); err != nil {
		return parseError(err, c.Command)
	}
	return nil
}

// pluginCommands are what gpbackup calls.
func pluginCommands() ([]pluginHelp, error) {
	parser, err := kong.New(&pluginCLI{}, kong.Vars{"version": version})
	if err != nil {
		return nil, err
	}
	commands := []pluginHelp{{versionFlag, "", "Print the executable's name and version."}}
	for _, node := range parser.Model.Children {
		if node.Hidden {
			continue
		}
		var args []string
		for _, arg := range node.Positional {
			args = append(args, arg.Summary())
		}
		commands = append(commands, pluginHelp{node.Name, strings.Join(args, " "), node.Help})
	}
	return commands, nil
}

// helpPlugin lists them, because they are no part of the main page.
func helpPlugin(g *Globals) error {
	commands, err := pluginCommands()
	if err != nil {
		return err
	}
	return g.Print(commands, func(w io.Writer) {
		say(w, "What gpbackup calls; <config> is the YAML file of its --plugin-config.")
		say(w, "")
		for _, p := range commands {
			say(w, "  %s", strings.TrimSpace(p.Name+" "+p.Arguments))
			say(w, "      %s", p.Help)
		}
	})
}
