package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/grammar"
	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/manpage"
	"github.com/gpdedup/gpdedup/repo/spelling"
)

// ManCmd is gpdedup man.
type ManCmd struct {
	Command []string `arg:"" optional:"" complete:"command" help:"The command whose page to print; 'plugin' for what gpbackup calls."`
	Dir     string   `placeholder:"DIR" help:"Write the pages of all commands into this directory, which is made if it is missing."`
}

// Help shows examples.
func (ManCmd) Help() string {
	return `Prints a manual page, or with --dir writes all of them: one for each command, with
the text of its --help. They are part of the packages.

Examples:

	gpdedup man repo init | man -l -
	gpdedup man --dir ~/.local/share/man/man1
`
}

// Run prints or writes pages.
func (c *ManCmd) Run(g *Globals) error {
	root, err := commandLine()
	if err != nil {
		return err
	}
	m := &manpage.Manual{Version: version, Root: root, Sections: manSections()}
	if c.Dir != "" {
		if len(c.Command) > 0 {
			return usageError("man: --dir writes the pages of all commands", "leave out the command, or --dir")
		}
		return c.writeAll(g, m)
	}
	page, err := manPage(m, c.Command)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(g.Stdout(), page); err != nil {
		return fmt.Errorf("print manual page: %w", err)
	}
	return nil
}

func manPage(m *manpage.Manual, command []string) (string, error) {
	path := strings.Join(command, " ")
	if path == "plugin" {
		return pluginPage(m)
	}
	var found *grammar.Command
	paths := []string{"plugin"}
	m.Root.Each(func(c *grammar.Command) {
		paths = append(paths, c.Path)
		if c.Path == path {
			found = c
		}
	})
	if found == nil {
		return "", usageError(fmt.Sprintf("man: there is no command %q%s", path, spelling.DidYouMean(path, paths)), "gpdedup help")
	}
	_, page := m.Page(found)
	return page, nil
}

func (c *ManCmd) writeAll(g *Globals, m *manpage.Manual) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("write manual pages: %w", err)
	}
	plugin, err := pluginPage(m)
	if err != nil {
		return err
	}
	pages := map[string]string{m.Root.Name + "-plugin": plugin}
	m.Root.Each(func(c *grammar.Command) {
		name, page := m.Page(c)
		pages[name] = page
	})
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(c.Dir, name+".1"), []byte(page), 0o644); err != nil { //nolint:gosec // pages are for everybody
			return fmt.Errorf("write manual pages: %w", err)
		}
	}
	return g.Print(map[string]any{"directory": c.Dir, "pages": len(pages)}, func(w io.Writer) {
		say(w, "wrote %s to %s", count(len(pages), "page"), c.Dir)
	})
}

// pluginPage is of what gpbackup calls, which is no part of the other grammar.
func pluginPage(m *manpage.Manual) (string, error) {
	commands, err := pluginCommands()
	if err != nil {
		return "", err
	}
	calls := manpage.Section{Title: "COMMANDS"}
	for _, p := range commands {
		calls.Terms = append(calls.Terms, manpage.Term{Name: strings.TrimSpace(p.Name + " " + p.Arguments), Says: p.Help})
	}
	return m.Plain(m.Root.Name+"-plugin", "what gpbackup calls", []manpage.Section{
		{Title: "DESCRIPTION", Text: `gpbackup and gprestore call these commands on all hosts when they are given
--plugin-config FILE. The file names this program, at the same path everywhere, and the
repository:

	executablepath: /usr/bin/gpdedup
	options:
	  repository: /backup/gpdedup
	  key_file: /etc/gpdedup.key

An option that is not known is refused, with a list of those that are.
`},
		calls,
	}), nil
}

// manSections are on the program's own page only.
func manSections() []manpage.Section {
	return []manpage.Section{
		{Title: "EXIT STATUS", Terms: []manpage.Term{
			{Name: "0", Says: "Done, and durable."},
			{Name: "1", Says: "Failed. Of wal fetch: it is proved that the archive does not have the file and may end there."},
			{Name: "2", Says: "Wrong usage or configuration."},
			{Name: "3", Says: "Conflict: the name exists with other content, or what it belongs to is deleted."},
			{Name: "4", Says: "Damage was found, or a gap in WAL."},
			{Name: "5", Says: "There is no repository, the key is wrong, or the format is newer than this version."},
			{Name: "128 + N", Says: "Ended by signal N, as a shell says it."},
			{Name: "200 to 204", Says: "Of wal fetch only: it cannot be decided, damage, a gap, another cluster's archive, the program failed. See gpdedup-wal-fetch(1)."},
		}},
		{Title: "FILES", Terms: []manpage.Term{
			{Name: "~/.cache/gpdedup", Says: "The cache of this host, where --cache-dir says nothing else. It may be removed."},
			{Name: "~/gpAdminLogs/gpdedup_DATE.log", Says: "What the plugin's commands log, where the directory exists."},
		}},
	}
}
