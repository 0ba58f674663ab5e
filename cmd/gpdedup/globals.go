package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/screen"
	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/metrics"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/target"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// Globals are the flags that every command has, and what every command needs of
// its surroundings. What the flags leave open is taken from the environment, then
// from the file of --config, then from the defaults; settle does that.
type Globals struct {
	Repo            string `name:"repo" group:"repository" placeholder:"LOCATION" help:"The repository: a directory, or s3://BUCKET/PREFIX. ($$GPDEDUP_REPO)"`
	KeyFile         string `name:"key-file" group:"repository" placeholder:"FILE" help:"File with the repository's key. ($$GPDEDUP_KEY_FILE)"`
	PasswordFile    string `name:"password-file" group:"repository" placeholder:"FILE" help:"File whose first line is the password. ($$GPDEDUP_PASSWORD_FILE, or the password itself in $$GPDEDUP_PASSWORD)"`
	PasswordCommand string `name:"password-command" group:"repository" placeholder:"COMMAND" help:"Shell command that prints the password. ($$GPDEDUP_PASSWORD_COMMAND)"`
	Namespace       string `name:"namespace" group:"repository" placeholder:"NAME" help:"Which cluster the names belong to; default if nothing is said. ($$GPDEDUP_NAMESPACE)"`
	CacheDir        string `name:"cache-dir" group:"repository" placeholder:"DIR" help:"Cache on this host; the user's cache directory if nothing is said. ($$GPDEDUP_CACHE_DIR)"`
	Config          string `name:"config" group:"repository" placeholder:"FILE" help:"The YAML file that gpbackup is given, for whatever is not said here or in the environment."`
	Bucket          Bucket `embed:""`
	JSONOutput      bool   `name:"json" group:"output" help:"Report as one JSON document."`
	Quiet           bool   `name:"quiet" short:"q" group:"output" help:"Report nothing but errors, data, and what --json asks for."`
	MetricsFile     string `name:"metrics-file" group:"output" placeholder:"FILE" help:"Leave numbers for Prometheus in this file, or in files of this directory. ($$GPDEDUP_METRICS_FILE)"`
	Verbose         bool   `name:"verbose" short:"v" group:"output" help:"Say more, and show progress where there is no terminal."`

	repoFlag, namespaceFlag string // what the command line itself says

	ctx         context.Context //nolint:containedctx // of the process
	signals     *signals
	stdout      io.Writer
	screen      *screen.Screen // standard error
	secret      repo.Secret
	compression compress.Level // of --config, as are the next
	delta       repo.DeltaMode
	concurrency int
	// keepWrapping has compressed streams stored as they come, unless a flag says
	// otherwise.
	keepWrapping bool
	target       target.Options
	log          *slog.Logger
	metrics      *metrics.Run // nil: nobody wants any
	command      string       // that is counted
}

// Context ends when the process is asked to end.
func (g *Globals) Context() context.Context { return g.ctx }

// Stdout is where results and data go.
func (g *Globals) Stdout() io.Writer { return g.stdout }

// Stderr is where everything else goes. It does not disturb a progress bar.
func (g *Globals) Stderr() io.Writer { return g.screen }

// JSON reports whether results are wanted as JSON.
func (g *Globals) JSON() bool { return g.JSONOutput }

// Open opens the repository for "read", "write" or "gc".
func (g *Globals) Open(operation string) (*repo.Repo, error) {
	return g.openWith(operation, g.compression, g.delta)
}

func (g *Globals) openWith(operation string, level compress.Level, delta repo.DeltaMode) (*repo.Repo, error) {
	st, err := g.openStorage()
	if err != nil {
		return nil, err
	}
	r, err := repo.Open(g.ctx, st, operation, repo.Options{
		Secret: g.secret, CacheDir: g.CacheDir, Compression: level, Delta: delta,
		Concurrency: g.concurrency, Version: version, Log: g.log,
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return r, nil
}

// openStorage opens what --repo names, without a look at what is in it.
func (g *Globals) openStorage() (storage.Storage, error) {
	if err := g.needRepo(); err != nil {
		return nil, err
	}
	st, err := target.OpenWith(g.Repo, g.target)
	if errors.Is(err, storage.ErrNotExist) {
		cause := "no such directory"
		if errors.Is(err, syscall.ENOTDIR) {
			cause = "not a directory"
		}
		return nil, repo.WithHint(fmt.Errorf("open repository: %s: %w: %s", g.Repo, repo.ErrNotRepository, cause),
			"is the location right, and the file system that it lies on mounted? To make a new one: gpdedup repo init")
	}
	return st, err
}

func (g *Globals) needRepo() error {
	if g.Repo == "" && g.Config != "" {
		return usageError("open repository: no repository is given",
			fmt.Sprintf("%s has no option repository: add it below options:, or give --repo LOCATION", g.Config))
	}
	if g.Repo == "" {
		return usageError("open repository: no repository is given", "give --repo LOCATION, or set GPDEDUP_REPO, or give --config FILE")
	}
	return nil
}

// Print reports v: as a JSON document if that is wanted, else the way human
// writes it, unless --quiet.
func (g *Globals) Print(v any, human func(w io.Writer)) error {
	var out bytes.Buffer
	switch {
	case g.JSONOutput:
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("print result: %w", err)
		}
	case !g.Quiet:
		human(&out)
	}
	if _, err := g.stdout.Write(out.Bytes()); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// Progress shows how many bytes of something that may take long are done: a bar
// where standard error is a terminal, with --verbose a line now and then elsewhere.
// A total of 0 is unknown. Both functions may be called from any goroutine; done
// must be called once, before anything is printed.
func (g *Globals) Progress(label string, total int64) (update func(n int64), done func()) {
	return g.progress(label, total, size.Format)
}

// showsProgress reports whether anybody sees what Progress is told.
func (g *Globals) showsProgress() bool { return !g.Quiet && (g.screen.Terminal() || g.Verbose) }

func (g *Globals) progress(label string, total int64, format func(int64) string) (update func(n int64), done func()) {
	if !g.showsProgress() {
		return func(int64) {}, func() {}
	}
	return g.screen.Progress(label, total, format)
}

// lateProgress is Progress for work that learns only on the way how much there is
// of it. update must not be called from two goroutines at once.
func (g *Globals) lateProgress(label string, format func(int64) string) (update func(n, total int64), done func()) {
	var set func(int64)
	stop := func() {}
	update = func(n, total int64) {
		if set == nil {
			set, stop = g.progress(label, total, format)
		}
		set(n)
	}
	return update, func() { stop() }
}

// settle completes the flags from the environment, the configuration file and the
// defaults, in this order, and refuses what contradicts itself.
func (g *Globals) settle(getenv func(string) string) error {
	g.repoFlag, g.namespaceFlag = g.Repo, g.Namespace
	g.secret = repo.Secret{KeyFile: g.KeyFile, PasswordFile: g.PasswordFile, PasswordCommand: g.PasswordCommand}
	if err := oneSecret(g.secret, "--key-file", "--password-file", "--password-command", ""); err != nil {
		return err
	}
	if err := g.Bucket.settle(g); err != nil {
		return err
	}
	env := settings{
		Target: target.Environment(getenv),
		Repo:   getenv("GPDEDUP_REPO"), Namespace: getenv("GPDEDUP_NAMESPACE"), CacheDir: getenv("GPDEDUP_CACHE_DIR"),
		MetricsFile: getenv("GPDEDUP_METRICS_FILE"),
		Secret: repo.Secret{
			KeyFile: getenv("GPDEDUP_KEY_FILE"), Password: getenv("GPDEDUP_PASSWORD"),
			PasswordFile: getenv("GPDEDUP_PASSWORD_FILE"), PasswordCommand: getenv("GPDEDUP_PASSWORD_COMMAND"),
		},
	}
	if g.secret.IsZero() {
		err := oneSecret(env.Secret, "GPDEDUP_KEY_FILE", "GPDEDUP_PASSWORD_FILE", "GPDEDUP_PASSWORD_COMMAND", "GPDEDUP_PASSWORD")
		if err != nil {
			return err
		}
	}
	g.fill(env)
	if g.Config != "" {
		file, err := readConfig(g.Config, getenv)
		if err != nil {
			return err
		}
		g.fill(file)
	}
	g.fill(settings{Namespace: "default", CacheDir: quick.CacheDir()})
	g.target.Requests, g.target.Getenv = g.concurrency, getenv
	g.target.Notify = func(op, key string, attempt int, err error) {
		g.metrics.Add(metrics.Retries, 1)
		g.log.Warn("storage fails, will try again", "operation", op, "key", key, "attempt", attempt, "error", err)
	}
	return nil
}

// settings are what the environment and the configuration file can say too.
type settings struct {
	Repo, Namespace, CacheDir string
	Secret                    repo.Secret
	Compression               compress.Level
	Delta                     repo.DeltaMode
	Concurrency               int
	KeepWrapping              bool
	Target                    target.Options
	MetricsFile               string
}

// fill takes what is still open from s. The ways to give the key count as one.
func (g *Globals) fill(s settings) {
	for _, f := range []struct {
		dst *string
		src string
	}{{&g.Repo, s.Repo}, {&g.Namespace, s.Namespace}, {&g.CacheDir, s.CacheDir}, {&g.MetricsFile, s.MetricsFile}} {
		if *f.dst == "" {
			*f.dst = f.src
		}
	}
	if g.secret.IsZero() {
		g.secret = s.Secret
	}
	if g.compression == "" {
		g.compression = s.Compression
	}
	if g.delta == "" {
		g.delta = s.Delta
	}
	g.keepWrapping = g.keepWrapping || s.KeepWrapping
	if g.concurrency == 0 {
		g.concurrency = s.Concurrency
	}
	g.target.Fill(s.Target)
}

// oneSecret refuses a secret that is given in more than one way, by their names.
func oneSecret(s repo.Secret, keyFile, passwordFile, passwordCommand, password string) error {
	var first string
	for _, way := range []struct{ value, name string }{
		{s.KeyFile, keyFile}, {s.PasswordFile, passwordFile}, {s.PasswordCommand, passwordCommand}, {s.Password, password},
	} {
		switch {
		case way.value == "":
		case first == "":
			first = way.name
		default:
			return usageError(fmt.Sprintf("open repository: both %s and %s are given", first, way.name), "give the key in one way only")
		}
	}
	return nil
}
