package main

import (
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// newParser returns what reads every command line.
func newParser(cli *CLI) (*kong.Kong, error) { return kong.New(cli, parserOptions()...) }

// narrowParser returns what reads these words as newParser's does, but knows no more
// commands than the first word needs: to look at all of them takes longer than to
// archive a small file.
func narrowParser(cli *CLI, args []string) (*kong.Kong, error) {
	if len(args) > 0 {
		if name, help, command := commandOf(cli, args[0]); command != nil {
			return kong.New(&cli.Globals, append(parserOptions(), kong.DynamicCommand(name, help, "", command))...)
		}
	}
	return newParser(cli)
}

// commandOf returns the command, or group of commands, of that name, nil if there is none
// or if more is said of it than its name and a line of help.
func commandOf(cli *CLI, word string) (name, help string, command any) {
	fields := reflect.TypeFor[CLI]()
	for i := range fields.NumField() {
		tag := fields.Field(i).Tag
		if _, ok := tag.Lookup("cmd"); !ok {
			continue
		}
		name, named := tag.Lookup("name")
		if !named {
			name = strings.ToLower(fields.Field(i).Name)
		}
		help := tag.Get("help")
		plain := reflect.StructTag(`cmd:"" help:"` + help + `"`)
		if named {
			plain = reflect.StructTag(`cmd:"" name:"` + name + `" help:"` + help + `"`)
		}
		if name == word && tag == plain {
			return name, help, reflect.ValueOf(cli).Elem().Field(i).Addr().Interface()
		}
	}
	return "", "", nil
}

func parserOptions() []kong.Option {
	return []kong.Option{
		kong.Name("gpdedup"),
		kong.Description("A deduplicating repository for backups, and gpbackup's plugin to it."),
		kong.ExplicitGroups([]kong.Group{
			{Key: "repository", Title: "The repository (flags go before the environment, that before --config):"},
			{Key: "source", Title: "The other repository:"},
			{Key: "target", Title: "The repository to copy to:"},
			{Key: "bucket", Title: "Its storage, if that is a bucket (with the keys of the environment, the shared files or --config):"},
			{Key: "output", Title: "Output:"},
		}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, FlagsLast: true, WrapUpperBound: 100}),
	}
}
