package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/alecthomas/kong"

	"github.com/gpdedup/gpdedup/plugin"
)

// pluginCLI is the command line that gpbackup uses. It is a grammar of its own:
// gpbackup passes content ids like -1, and there are no flags.
type pluginCLI struct {
	Version kong.VersionFlag `name:"version" help:"Print the executable's name and version."`

	APIVersion       apiVersionCmd `cmd:"" name:"plugin_api_version" help:"Print the version of the plugin API."`
	SetupBackup      setupBackup   `cmd:"" name:"setup_plugin_for_backup" help:"Check configuration and repository before a backup."`
	SetupRestore     setupRestore  `cmd:"" name:"setup_plugin_for_restore" help:"Check configuration and repository before a restore."`
	CleanupBackup    cleanup       `cmd:"" name:"cleanup_plugin_for_backup" help:"Do nothing: all that was stored is durable."`
	CleanupRestore   cleanup       `cmd:"" name:"cleanup_plugin_for_restore" help:"Do nothing."`
	BackupFile       backupFile    `cmd:"" name:"backup_file" help:"Store a file."`
	RestoreFile      restoreFile   `cmd:"" name:"restore_file" help:"Bring a file back."`
	BackupData       backupData    `cmd:"" name:"backup_data" help:"Store standard input."`
	RestoreData      restoreData   `cmd:"" name:"restore_data" help:"Write what was stored to standard output."`
	RestoreSubset    restoreSubset `cmd:"" name:"restore_data_subset" help:"Write ranges of what was stored to standard output."`
	DeleteBackup     deleteBackup  `cmd:"" name:"delete_backup" help:"Delete a backup."`
	ListDirectory    listDirectory `cmd:"" name:"list_directory" help:"List the timestamps, or what is stored of one."`
	DeleteDirectory  deleteDir     `cmd:"" name:"delete_directory" help:"Delete the backup that a directory is named for."`
	ReplicateBackup  replicate     `cmd:"" name:"replicate_backup" help:"Copy a backup to the replica that the configuration names."`
	DeleteReplica    deleteReplica `cmd:"" name:"delete_replica" help:"Delete a backup in the replica; say 'already deleted' if it is."`
	RefreshHostIndex refreshIndex  `cmd:"" name:"refresh_index" hidden:"" help:"What setup_plugin_for_backup leaves behind."`
}

type hookArgs struct {
	Config    string `arg:"" help:"The configuration, a YAML file."`
	Directory string `arg:"" help:"The directory of the backup on this host."`
	Scope     string `arg:"" help:"master, coordinator, segment_host or segment."`
	Content   string `arg:"" optional:"" help:"The segment's content id."`
}

func (h hookArgs) hook() plugin.Hook {
	return plugin.Hook{Config: h.Config, Dir: h.Directory, Scope: h.Scope, Content: h.Content}
}

type fileArgs struct {
	Config string `arg:"" help:"The configuration, a YAML file."`
	Path   string `arg:"" help:"What gpbackup calls the file."`
}

type (
	apiVersionCmd struct{}
	setupBackup   struct{ hookArgs }
	setupRestore  struct{ hookArgs }
	cleanup       struct{ hookArgs }
	backupFile    struct{ fileArgs }
	restoreFile   struct{ fileArgs }
	backupData    struct{ fileArgs }
	restoreData   struct{ fileArgs }
	restoreSubset struct {
		fileArgs
		Offsets string `arg:"" help:"A file: how many ranges, and where each begins and ends."`
	}
	timestampArgs struct {
		Config    string `arg:"" help:"The configuration, a YAML file."`
		Timestamp string `arg:"" help:"The backup's timestamp, 14 digits."`
	}
	deleteBackup  struct{ timestampArgs }
	replicate     struct{ timestampArgs }
	deleteReplica struct{ timestampArgs }
	listDirectory struct {
		Config    string `arg:"" help:"The configuration, a YAML file."`
		Directory string `arg:"" optional:"" help:"A path that ends with a timestamp."`
	}
	deleteDir struct {
		Config    string `arg:"" help:"The configuration, a YAML file."`
		Directory string `arg:"" help:"A path that ends with a timestamp."`
	}
	refreshIndex struct {
		Config string `arg:"" help:"The configuration, a YAML file."`
	}
)

// pluginCall is what a command's Run is given.
type pluginCall struct {
	*plugin.Process
	ctx context.Context //nolint:containedctx // of the one command that is run
}

func (apiVersionCmd) Run() error {
	_, err := fmt.Fprintln(os.Stdout, plugin.APIVersion)
	return err
}
func (c *setupBackup) Run(p pluginCall) error  { return p.SetupForBackup(p.ctx, c.hook()) }
func (c *setupRestore) Run(p pluginCall) error { return p.SetupForRestore(p.ctx, c.hook()) }
func (c *cleanup) Run(p pluginCall) error      { return p.Cleanup(p.ctx, c.hook()) }
func (c *backupFile) Run(p pluginCall) error   { return p.BackupFile(p.ctx, c.Config, c.Path) }
func (c *restoreFile) Run(p pluginCall) error  { return p.RestoreFile(p.ctx, c.Config, c.Path) }
func (c *backupData) Run(p pluginCall) error   { return p.BackupData(p.ctx, c.Config, c.Path) }
func (c *restoreData) Run(p pluginCall) error  { return p.RestoreData(p.ctx, c.Config, c.Path) }

func (c *restoreSubset) Run(p pluginCall) error {
	return p.RestoreDataSubset(p.ctx, c.Config, c.Path, c.Offsets)
}

func (c *deleteBackup) Run(p pluginCall) error { return p.DeleteBackup(p.ctx, c.Config, c.Timestamp) }

func (c *replicate) Run(p pluginCall) error { return p.ReplicateBackup(p.ctx, c.Config, c.Timestamp) }

func (c *deleteReplica) Run(p pluginCall) error { return p.DeleteReplica(p.ctx, c.Config, c.Timestamp) }

func (c *listDirectory) Run(p pluginCall) error {
	return p.ListDirectory(p.ctx, c.Config, c.Directory)
}

func (c *deleteDir) Run(p pluginCall) error    { return p.DeleteDirectory(p.ctx, c.Config, c.Directory) }
func (c *refreshIndex) Run(p pluginCall) error { return p.RefreshIndex(p.ctx, c.Config) }

// pluginCommand performs a command line that begins with one of gpbackup's
// commands. Others are not handled.
func pluginCommand(args []string) (handled bool, exit int) {
	if len(args) == 0 || !isPluginCommand(args[0]) {
		return false, 0
	}
	p := plugin.NewProcess(os.Args[0], version)
	return true, p.Run(args[0], func(ctx context.Context) error {
		if command := plainCommand(args); command != nil {
			return command.Run(pluginCall{p, ctx})
		}
		parser, err := newPluginParser()
		if err != nil {
			return fmt.Errorf("internal error: %w", err)
		}
		command, err := parser.Parse(escapePluginArgs(args))
		if err != nil {
			var wrong *kong.ParseError
			if errors.As(err, &wrong) {
				return plugin.Usage(fmt.Errorf("%s: %w", args[0], err))
			}
			return err
		}
		return command.Run(pluginCall{p, ctx})
	})
}

func newPluginParser() (*kong.Kong, error) {
	return kong.New(&pluginCLI{},
		kong.Name("gpdedup"),
		kong.Vars{"version": filepath.Base(os.Args[0]) + " version " + version},
	)
}

// plainCommand returns the command of a line that needs no parser, nil for all others:
// what gpbackup calls for every table and file, with a configuration and a path. There
// are thousands of these calls, and making the parser takes a fifth of a short one.
func plainCommand(args []string) interface{ Run(p pluginCall) error } {
	if len(args) != 3 || args[1] == "" || args[2] == "" {
		return nil
	}
	file := fileArgs{Config: args[1], Path: args[2]}
	switch args[0] {
	case "backup_data":
		return &backupData{file}
	case "restore_data":
		return &restoreData{file}
	case "backup_file":
		return &backupFile{file}
	case "restore_file":
		return &restoreFile{file}
	}
	return nil
}

const versionFlag = "--version"

// isPluginCommand reports whether word is one of gpbackup's commands, which all have
// their names in tags.
func isPluginCommand(word string) bool {
	fields := reflect.TypeFor[pluginCLI]()
	for i := range fields.NumField() {
		tag := fields.Field(i).Tag
		if _, ok := tag.Lookup("cmd"); ok && tag.Get("name") == word {
			return true
		}
	}
	return word == versionFlag
}

// escapePluginArgs makes the parser take what follows the command as it is: content
// ids like -1 are no flags.
func escapePluginArgs(args []string) []string {
	if args[0] == versionFlag || len(args) == 2 && (args[1] == "--help" || args[1] == "-h") {
		return args
	}
	return append([]string{args[0], "--"}, args[1:]...)
}
