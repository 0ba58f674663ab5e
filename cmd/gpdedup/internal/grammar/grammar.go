// Package grammar is the command line in plain terms: which commands there are, which
// flags they take, and what a flag's value is. Shell completion and manual pages are
// made of it, and it is made of the same definitions as the help pages.
package grammar

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Kind is what a value is, so far as it helps to complete it.
type Kind int

// The kinds of values.
const (
	None      Kind = iota // there is no value: a switch
	Any                   // nobody knows what
	File                  // path of a file
	Directory             // path of a directory
	OneOf                 // one of the known words
	Words                 // the words of a command of this program
)

// Command is a command, a group of them, or the program.
type Command struct {
	Name     string // its last word
	Path     string // all words but the program's name
	Help     string // one line
	Detail   string // the rest of its page
	Parent   *Command
	Commands []*Command
	Flags    []Flag // its own; those of its parents are taken, too
	Args     []Argument
}

// Flag is what begins with a dash.
type Flag struct {
	Name      string // without dashes
	Short     string // a letter, or ""
	Negatable bool   // --no-NAME is one, too
	Value     string // what the help page has in place of a value; "" for a switch
	Default   string
	Help      string
	Group     string // title of the flags that it stands with on the help page
	Kind      Kind
	OneOf     []string
}

// Argument is a word that no flag is.
type Argument struct {
	Name  string
	Usage string // as the line of usage shows it
	Help  string
	Kind  Kind
	OneOf []string
}

// Of returns what app takes, without what is hidden.
func Of(app *kong.Application) *Command { return command(app.Node, nil) }

func command(n *kong.Node, parent *Command) *Command {
	c := &Command{Name: n.Name, Help: n.Help, Detail: n.Detail, Parent: parent}
	if parent != nil {
		c.Path = strings.TrimSpace(parent.Path + " " + n.Name)
	}
	for _, f := range n.Flags {
		if !f.Hidden {
			c.Flags = append(c.Flags, flag(f))
		}
	}
	for _, p := range n.Positional {
		kind, words := kindOf(p, "")
		c.Args = append(c.Args, Argument{Name: p.Name, Usage: p.Summary(), Help: p.Help, Kind: kind, OneOf: words})
	}
	for _, child := range n.Children {
		if !child.Hidden {
			c.Commands = append(c.Commands, command(child, c))
		}
	}
	return c
}

func flag(f *kong.Flag) Flag {
	g := Flag{Name: f.Name, Help: f.Help, Negatable: f.Tag.Negatable != ""}
	if f.Short != 0 {
		g.Short = string(f.Short)
	}
	if f.Group != nil {
		g.Group = f.Group.Title
	}
	if f.IsBool() {
		return g
	}
	g.Default, g.Value = f.Default, strings.Trim(f.FormatPlaceHolder(), `"`)
	g.Kind, g.OneOf = kindOf(f.Value, f.PlaceHolder)
	return g
}

// kindOf goes by the tag complete, which names a kind or lists the words, by enum, and
// by what stands in place of a value on the help page.
func kindOf(v *kong.Value, placeholder string) (Kind, []string) {
	tag := v.Tag.Get("complete")
	switch tag {
	case "file":
		return File, nil
	case "dir":
		return Directory, nil
	case "command":
		return Words, nil
	case "":
	default:
		return OneOf, strings.Split(tag, ",")
	}
	if v.Enum != "" {
		return OneOf, v.EnumSlice()
	}
	switch placeholder {
	case "FILE":
		return File, nil
	case "DIR", "LOCATION":
		return Directory, nil
	}
	return Any, nil
}

// Leaf reports whether it can be called, and is no group.
func (c *Command) Leaf() bool { return len(c.Commands) == 0 }

// Root is the program.
func (c *Command) Root() *Command {
	for c.Parent != nil {
		c = c.Parent
	}
	return c
}

// FullPath is how it is called.
func (c *Command) FullPath() string { return strings.TrimSpace(c.Root().Name + " " + c.Path) }

// AllFlags returns its flags and those of its parents, the outermost first.
func (c *Command) AllFlags() []Flag {
	if c.Parent == nil {
		return slices.Clone(c.Flags)
	}
	return append(c.Parent.AllFlags(), c.Flags...)
}

// Each calls fn for c and everything below it.
func (c *Command) Each(fn func(*Command)) {
	fn(c)
	for _, child := range c.Commands {
		child.Each(fn)
	}
}

// Words returns the forms of a flag, with their dashes.
func (f *Flag) Words() []string {
	words := []string{"--" + f.Name}
	if f.Negatable {
		words = append(words, "--no-"+f.Name)
	}
	if f.Short != "" {
		words = append(words, "-"+f.Short)
	}
	return words
}
