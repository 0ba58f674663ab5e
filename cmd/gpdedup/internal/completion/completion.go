// Package completion writes scripts with which bash, zsh and fish complete a command
// line. They say all there is to complete themselves, so completing starts no program.
package completion

import (
	_ "embed" // the scripts' unchanging parts
	"fmt"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/grammar"
)

// What each script does with the tables that follow it.
var (
	//go:embed bash.sh
	bashScript string
	//go:embed zsh.sh
	zshScript string
	//go:embed fish.fish
	fishScript string
)

// Shells are those that Script knows.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Script returns the script for a shell.
func Script(shell string, root *grammar.Command) (string, error) {
	switch shell {
	case "bash":
		return bash(root), nil
	case "zsh":
		return zsh(root), nil
	case "fish":
		return fish(root), nil
	}
	return "", fmt.Errorf("shell %q is none of %s", shell, strings.Join(Shells(), ", "))
}

// bash writes a function that sets, by the path of a command, its commands, flags and
// arguments, as words.
func bash(root *grammar.Command) string {
	var b strings.Builder
	b.WriteString("# bash completion for gpdedup: written by 'gpdedup completion bash'\n\n")
	flags := func(c *grammar.Command) string {
		var words []string
		for _, f := range c.Flags {
			for _, word := range f.Words() {
				words = append(words, word+":"+value(f.Kind, f.OneOf))
			}
		}
		return strings.Join(words, " ")
	}
	fmt.Fprintf(&b, "_gpdedup_global=%s\n\n", shQuote(flags(root)))
	b.WriteString("# Sets commands, flags and args to what the command $1 has.\n_gpdedup_command() {\n\tcommands='' flags='' args=''\n\tcase $1 in\n")
	root.Each(func(c *grammar.Command) {
		fmt.Fprintf(&b, "\t%s)\n", shQuote(c.Path))
		if len(c.Commands) > 0 {
			fmt.Fprintf(&b, "\t\tcommands=%s\n", shQuote(strings.Join(names(c), " ")))
		}
		if f := flags(c); f != "" && c.Parent != nil {
			fmt.Fprintf(&b, "\t\tflags=%s\n", shQuote(f))
		}
		if args := argument(c); args != "" {
			fmt.Fprintf(&b, "\t\targs=%s\n", shQuote(args))
		}
		b.WriteString("\t\t;;\n")
	})
	b.WriteString("\tesac\n}\n\n" + bashScript)
	return b.String()
}

// zsh writes the same, with what each flag and command is for.
func zsh(root *grammar.Command) string {
	var b strings.Builder
	b.WriteString("#compdef gpdedup\n# zsh completion for gpdedup: written by 'gpdedup completion zsh'\n\n")
	flags := func(c *grammar.Command, indent string) string {
		var lines strings.Builder
		for _, f := range c.Flags {
			for _, word := range f.Words() {
				fmt.Fprintf(&lines, "%s%s\n", indent, shQuote(word+":"+value(f.Kind, f.OneOf)+":"+f.Help))
			}
		}
		return lines.String()
	}
	fmt.Fprintf(&b, "typeset -ga _gpdedup_global\n_gpdedup_global=(\n%s)\n\n", flags(root, "\t"))
	b.WriteString("# Sets commands, flags and args to what the command $1 has.\n_gpdedup_command() {\n\tcommands=() flags=() args=()\n\tcase $1 in\n")
	root.Each(func(c *grammar.Command) {
		fmt.Fprintf(&b, "\t%s)\n", shQuote(c.Path))
		if len(c.Commands) > 0 {
			b.WriteString("\t\tcommands=(\n")
			for _, child := range c.Commands {
				fmt.Fprintf(&b, "\t\t\t%s\n", shQuote(child.Name+":"+child.Help))
			}
			b.WriteString("\t\t)\n")
		}
		if f := flags(c, "\t\t\t"); f != "" && c.Parent != nil {
			fmt.Fprintf(&b, "\t\tflags=(\n%s\t\t)\n", f)
		}
		if args := argument(c); args != "" {
			fmt.Fprintf(&b, "\t\targs=(%s)\n", shQuote(args))
		}
		b.WriteString("\t\t;;\n")
	})
	b.WriteString("\tesac\n}\n\n" + zshScript)
	return b.String()
}

// fish writes a line for each command and flag, with the condition that it fits.
func fish(root *grammar.Command) string {
	var b, lines strings.Builder
	b.WriteString("# fish completion for gpdedup: written by 'gpdedup completion fish'\n\n")
	var commands, valued []string
	root.Each(func(c *grammar.Command) {
		if c.Parent != nil {
			commands = append(commands, fishQuote(c.Path))
			fmt.Fprintf(&lines, "complete -c gpdedup -n %s -a %s -d %s\n",
				fishQuote("__gpdedup_is "+fishQuote(c.Parent.Path)), c.Name, fishQuote(c.Help))
		}
		condition := ""
		if c.Parent != nil {
			condition = " -n " + fishQuote("__gpdedup_in "+fishQuote(c.Path))
		}
		for _, f := range c.Flags {
			if f.Kind != grammar.None && !c.Leaf() {
				valued = append(valued, f.Words()...)
			}
			short := ""
			if f.Short != "" {
				short = " -s " + f.Short
			}
			fmt.Fprintf(&lines, "complete -c gpdedup%s -l %s%s%s -d %s\n", condition, f.Name, short, fishValue(f.Kind, f.OneOf), fishQuote(f.Help))
			if f.Negatable {
				fmt.Fprintf(&lines, "complete -c gpdedup%s -l no-%s -d %s\n", condition, f.Name, fishQuote(f.Help))
			}
		}
		if kind, words := argumentKind(c); kind != grammar.None {
			if kind == grammar.Words {
				fmt.Fprintf(&lines, "complete -c gpdedup -n %s -a '(__gpdedup_below)'\n", fishQuote("__gpdedup_in "+fishQuote(c.Path)))
			} else if v := fishValue(kind, words); v != " -x" {
				fmt.Fprintf(&lines, "complete -c gpdedup -n %s%s\n", fishQuote("__gpdedup_in "+fishQuote(c.Path)), strings.Replace(v, " -r -F", " -F", 1))
			}
		}
	})
	slices.Sort(valued)
	fmt.Fprintf(&b, "set -g __gpdedup_commands %s\n", strings.Join(commands, " "))
	fmt.Fprintf(&b, "set -g __gpdedup_valued %s\n\n", strings.Join(slices.Compact(valued), " "))
	b.WriteString(fishScript)
	b.WriteString(lines.String())
	return b.String()
}

func names(c *grammar.Command) []string {
	var words []string
	for _, child := range c.Commands {
		words = append(words, child.Name)
	}
	return words
}

// value is what the scripts call the kind of a value.
func value(kind grammar.Kind, words []string) string {
	switch kind {
	case grammar.None:
		return "none"
	case grammar.File:
		return "file"
	case grammar.Directory:
		return "dir"
	case grammar.OneOf:
		return strings.Join(words, ",")
	case grammar.Words:
		return "command"
	case grammar.Any:
	}
	return "any"
}

func fishValue(kind grammar.Kind, words []string) string {
	switch kind {
	case grammar.None:
		return ""
	case grammar.File:
		return " -r -F"
	case grammar.Directory:
		return " -x -a '(__fish_complete_directories)'"
	case grammar.OneOf:
		return " -x -a " + fishQuote(strings.Join(words, " "))
	case grammar.Words, grammar.Any:
	}
	return " -x"
}

// argumentKind is the kind of the first argument that can be completed.
func argumentKind(c *grammar.Command) (grammar.Kind, []string) {
	for _, arg := range c.Args {
		if arg.Kind != grammar.Any {
			return arg.Kind, arg.OneOf
		}
	}
	return grammar.None, nil
}

func argument(c *grammar.Command) string {
	kind, words := argumentKind(c)
	if kind == grammar.None {
		return ""
	}
	return value(kind, words)
}

// shQuote quotes a word for bash and zsh.
func shQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fishQuote quotes a word for fish, where a backslash escapes in quotes, too.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
