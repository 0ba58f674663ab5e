// Command gpdedup is the deduplicating backup repository's command line and, under
// the names that gpbackup calls, its storage plugin.
//
// Each group of commands has a file of its own. A command is a struct whose fields
// are its flags and arguments, and whose Run calls the package that does the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/early"
	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/quit"
	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/screen"
	"github.com/gpdedup/gpdedup/plugin"
)

// version is set by the linker.
var version = "0.1.0-dev"

// CLI is the command line.
type CLI struct {
	Globals

	RepoGroup  RepoCmd       `cmd:"" name:"repo" help:"Make a repository, look at it, check it."`
	Backup     BackupCmd     `cmd:"" help:"The backups of gpbackup in a repository, by timestamp."`
	Stream     StreamCmd     `cmd:"" help:"Any other stream of bytes, by a name: of pg_dump, tar and so on."`
	Wal        WalCmd        `cmd:"" help:"PostgreSQL's WAL archive: archive_command, restore_command, and what looks after it."`
	Base       BaseCmd       `cmd:"" help:"PostgreSQL's base backups: push, restore to any point in time, list, verify, forget."`
	Report     ReportCmd     `cmd:"" help:"Say what the repository holds, what that takes, and how it will grow: as a page of HTML too."`
	Doctor     DoctorCmd     `cmd:"" help:"Find out whether gpbackup can work with a configuration, on all hosts, and what to fix."`
	Completion CompletionCmd `cmd:"" help:"Print a script with which a shell completes command lines."`
	Man        ManCmd        `cmd:"" help:"Print a manual page, or write all of them."`
	Version    VersionCmd    `cmd:"" help:"Print the version."`
	Help       HelpCmd       `cmd:"" help:"Print this page, or the page of a command; 'help plugin' lists what gpbackup calls."`
}

func main() {
	debug.SetTraceback("none") // what a bug leaves on the screen is one line
	switch {
	case os.Args[0] == early.FetchWorker:
		os.Exit(runFetchWorker(os.Args[1:]))
	case isFetch(os.Args[1:]):
		os.Exit(guardFetch(os.Args[1:]))
	}
	if !isPush(os.Args[1:]) { // which has its own way
		limitGarbage()
	}
	if os.Args[0] == besideName {
		runBeside(os.Args[1:])
		return
	}
	defer func() {
		if r := recover(); r != nil {
			plugin.Report(os.Stderr, fmt.Errorf("internal error: %v", r))
			os.Exit(plugin.ExitFailed)
		}
	}()
	if len(os.Args) < 2 || os.Args[1] != "wal" { // which is none of the plugin's names
		quit.Restore() // the plugin has a way of its own with signals
		if handled, code := pluginCommand(os.Args[1:]); handled {
			os.Exit(code)
		}
	}
	os.Exit(run(os.Args[1:]))
}

// limitGarbage keeps the heap near what is in use: most of it is a few large
// buffers, so collecting often costs little, and the database next to us needs
// its memory. It does so from the first collection on, which comes when the heap is
// 4 MiB: most processes end before that, and to be told any earlier would have them
// collect at once.
func limitGarbage() {
	if os.Getenv("GOGC") == "" {
		runtime.AddCleanup(&garbage{}, func(percent int) { debug.SetGCPercent(percent) }, 20)
	}
}

// garbage is gone after the first collection. It has a pointer, because what has none
// may share memory with what stays.
type garbage struct{ _ *garbage }

// run runs one command and returns the exit code.
func run(args []string) int {
	signals := catchSignals(context.Background())
	err := runCommand(signals, args)
	if err != nil {
		signals.DieIfAsked()
		plugin.Report(os.Stderr, err)
	}
	code := plugin.ExitCode(err)
	if code == plugin.ExitUsage {
		code = usageExit()
	}
	return code
}

func runCommand(signals *signals, args []string) error {
	started := time.Now()
	cli := &CLI{}
	name, run := readQuickly(cli, args)
	if run == nil {
		cli = &CLI{}
		parser, err := narrowParser(cli, args)
		if err != nil {
			return fmt.Errorf("internal error: %w", err)
		}
		if len(args) == 0 {
			return usageError("no command is given", "gpdedup --help")
		}
		command, err := parser.Parse(joinContent(args))
		if err != nil {
			return parseError(err, args)
		}
		name, run = command.Command(), func(g *Globals) error { return command.Run(g) }
	}
	g, err := cli.settle(signals, name)
	if err != nil {
		return err
	}
	g.beginMetrics(name, started)
	err = run(g)
	g.endMetrics(err)
	return err
}

// settle makes what a command works with of the command line and of what is set elsewhere.
func (cli *CLI) settle(signals *signals, command string) (*Globals, error) {
	g := &cli.Globals
	g.ctx, g.signals, g.stdout, g.screen = signals.Context, signals, os.Stdout, screen.New(os.Stderr)
	g.log = newLogger(g)
	if err := errors.Join(cli.Wal.settle(g), cli.Base.settle(g)); err != nil {
		return nil, err
	}
	if command == doctorCommand { // which looks for what is wrong there
		return g, nil
	}
	return g, g.settle(os.Getenv)
}
