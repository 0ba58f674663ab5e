// Package manpage writes manual pages of the same definitions as the help pages.
package manpage

import (
	"strings"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/grammar"
)

// Manual is what all pages have in common.
type Manual struct {
	Version string
	Root    *grammar.Command
	// Sections stand at the end of the program's own page.
	Sections []Section
}

// Section is a part of a page: text in the form of a command's Detail, and terms.
type Section struct {
	Title string
	Text  string
	Terms []Term
}

// Term is something, and what it means.
type Term struct{ Name, Says string }

// Page returns the page of a command, and its name, such as gpdedup-repo-init.
func (m *Manual) Page(c *grammar.Command) (name, page string) {
	r := &roff{}
	name = PageName(c)
	m.head(r, name, c.Help)
	r.macro("SH", "SYNOPSIS")
	synopsis(r, c)
	r.macro("SH", "DESCRIPTION")
	description(r, c)
	if len(c.Commands) > 0 {
		r.macro("SH", "COMMANDS")
		for _, child := range c.Commands {
			r.term(PageName(child)+"(1)", child.Help)
		}
	}
	if len(c.Args) > 0 {
		r.macro("SH", "ARGUMENTS")
		for _, arg := range c.Args {
			r.term(arg.Usage, arg.Help)
		}
	}
	m.options(r, c)
	if c.Parent == nil {
		environment(r, c)
		for _, s := range m.Sections {
			m.section(r, s)
		}
	}
	r.macro("SH", "SEE ALSO")
	r.text(strings.Join(m.seeAlso(c), ", "))
	return name, r.String()
}

// Plain returns a page that is of no command: its parts are in sections.
func (m *Manual) Plain(name, help string, sections []Section) string {
	r := &roff{}
	m.head(r, name, help)
	for _, s := range sections {
		m.section(r, s)
	}
	r.macro("SH", "SEE ALSO")
	r.text(m.Root.Name + "(1)")
	return r.String()
}

// PageName is what man calls the page of a command.
func PageName(c *grammar.Command) string {
	return strings.ReplaceAll(c.FullPath(), " ", "-")
}

func (m *Manual) head(r *roff, name, help string) {
	r.WriteString(`.\" Written by '` + m.Root.Name + " man'; the source is the help of the commands.\n")
	// No date: the same version makes the same page.
	r.macro("TH", strings.ToUpper(name), "1", "", m.Root.Name+" "+m.Version, "Manual of "+m.Root.Name)
	r.WriteString(".nh\n.ad l\n")
	r.macro("SH", "NAME")
	r.text(name + " - " + strings.TrimSuffix(help, "."))
}

func (m *Manual) section(r *roff, s Section) {
	r.macro("SH", s.Title)
	detail(r, s.Text)
	for _, t := range s.Terms {
		r.term(t.Name, t.Says)
	}
}

func synopsis(r *roff, c *grammar.Command) {
	line := `\fB` + escape(c.FullPath()) + `\fR`
	if len(c.Commands) > 0 {
		line += ` \fICOMMAND\fR`
	}
	for _, arg := range c.Args {
		line += ` \fI` + escape(arg.Usage) + `\fR`
	}
	r.WriteString(line + ` [\fIFLAGS\fR]` + "\n")
}

func description(r *roff, c *grammar.Command) {
	r.text(c.Help)
	detail(r, c.Detail)
}

func detail(r *roff, text string) {
	for _, b := range blocks(text) {
		switch {
		case b.literal:
			r.literal(b.lines)
		case len(b.lines) == 1 && (b.lines[0] == "Example:" || b.lines[0] == "Examples:"):
			r.macro("SH", strings.ToUpper(strings.TrimSuffix(b.lines[0], ":")))
		case b.item:
			r.WriteString(".IP \\(bu 3\n")
			r.text(strings.Join(b.lines, "\n"))
		default:
			r.WriteString(".PP\n")
			r.text(strings.Join(b.lines, "\n"))
		}
	}
}

// options writes a command's own flags and those of its group. Those of every command
// are on the program's page.
func (m *Manual) options(r *roff, c *grammar.Command) {
	var flags []grammar.Flag
	for at := c; at != nil && (at.Parent != nil || at == c); at = at.Parent {
		flags = append(flags, at.Flags...)
	}
	if len(flags) > 0 {
		r.macro("SH", "FLAGS")
	}
	group := ""
	for _, f := range flags {
		if f.Group != group {
			group = f.Group
			r.macro("SS", strings.TrimSuffix(group, ":"))
		}
		term := "--" + f.Name
		if f.Negatable {
			term = "--[no-]" + f.Name
		}
		if f.Short != "" {
			term = "-" + f.Short + ", " + term
		}
		if f.Value != "" {
			term += "=" + f.Value
		}
		says := f.Help
		if f.Default != "" {
			says += "\nDefault: " + f.Default + "."
		}
		r.term(term, says)
	}
	if c.Parent != nil {
		r.WriteString(".PP\n")
		r.text("The flags of every command, such as --repo, --key-file and --json, are in " + m.Root.Name + "(1).")
	}
}

// environment lists the variables that the help of flags names, as ($NAME).
func environment(r *roff, c *grammar.Command) {
	r.macro("SH", "ENVIRONMENT")
	c.Each(func(c *grammar.Command) {
		for _, f := range c.Flags {
			_, names, found := strings.Cut(f.Help, "($")
			if !found {
				continue
			}
			for _, word := range strings.Fields("$" + strings.TrimSuffix(names, ")")) {
				if variable, ok := strings.CutPrefix(strings.Trim(word, ",.)"), "$"); ok {
					r.term(variable, "See --"+f.Name+".")
				}
			}
		}
	})
}

func (m *Manual) seeAlso(c *grammar.Command) []string {
	var pages []string
	add := func(c *grammar.Command) { pages = append(pages, PageName(c)+"(1)") }
	if c.Parent == nil {
		for _, child := range c.Commands {
			add(child)
		}
		return pages
	}
	add(m.Root)
	if c.Parent != m.Root {
		add(c.Parent)
		for _, sibling := range c.Parent.Commands {
			if sibling != c {
				add(sibling)
			}
		}
	}
	return pages
}
