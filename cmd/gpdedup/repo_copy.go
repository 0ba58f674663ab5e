package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/repo"
)

// fromFlags say how to read the other repository, where that is not the one that --repo
// and --key-file name.
type fromFlags struct {
	FromKeyFile         string `name:"from-key-file" group:"source" placeholder:"FILE" help:"File with the key of that repository."`
	FromPasswordFile    string `name:"from-password-file" group:"source" placeholder:"FILE" help:"File whose first line is its password."`
	FromPasswordCommand string `name:"from-password-command" group:"source" placeholder:"COMMAND" help:"Shell command that prints its password."`
}

func (f *fromFlags) secret() (repo.Secret, error) {
	s := repo.Secret{KeyFile: f.FromKeyFile, PasswordFile: f.FromPasswordFile, PasswordCommand: f.FromPasswordCommand}
	return s, oneSecret(s, "--from-key-file", "--from-password-file", "--from-password-command", "")
}

// RepoCopyCmd is gpdedup repo copy.
type RepoCopyCmd struct {
	From string `placeholder:"LOCATION" group:"source" help:"Copy from this repository. (--repo and what stands for it, if it is left out)"`
	fromFlags
	To                string   `placeholder:"LOCATION" group:"target" help:"Copy to this repository, which must exist. ($$GPDEDUP_TO_REPO)"`
	ToKeyFile         string   `name:"to-key-file" group:"target" placeholder:"FILE" help:"File with its key. ($$GPDEDUP_TO_KEY_FILE)"`
	ToPasswordFile    string   `name:"to-password-file" group:"target" placeholder:"FILE" help:"File whose first line is its password. ($$GPDEDUP_TO_PASSWORD_FILE, or the password itself in $$GPDEDUP_TO_PASSWORD)"`
	ToPasswordCommand string   `name:"to-password-command" group:"target" placeholder:"COMMAND" help:"Shell command that prints its password. ($$GPDEDUP_TO_PASSWORD_COMMAND)"`
	ToConfig          string   `name:"to-config" group:"target" placeholder:"FILE" help:"A YAML file like the one of --config, for whatever else is to be said of the target."`
	Timestamps        []string `name:"timestamp" placeholder:"TS" help:"Copy only this backup of gpbackup. May be given several times."`
	DryRun            bool     `name:"dry-run" help:"Find out what would be copied, and write nothing."`
}

// Help shows examples.
func (RepoCopyCmd) Help() string {
	return `Everything is copied: gpbackup's backups, named streams, base backups and WAL, of all
namespaces; with --namespace only of that one, with --timestamp only those backups. What
the target holds already is not copied again, so a copy that was stopped goes on where it
was. Every byte is verified on its way and sealed with the target's keys. Nothing is ever
removed from the target, and backups that are deleted in the source are not copied.

A target made with 'repo init --copy-chunker-from' gets the chunks as they are, and its
backups deduplicate with the source's. For any other, streams are read, cut and
compressed anew, which takes as long as restoring and storing them.

Where the target has other content under a name, or has deleted the backup, that is
said, all else is copied, and the exit code is 3. It is 4 if something in the source is
damaged; the rest is copied.

Examples:

	gpdedup repo init --repo /mnt/copy --key-file /etc/copy.key --copy-chunker-from /backup/gpdedup --from-key-file /etc/gpdedup.key
	gpdedup repo copy --from /backup/gpdedup --from-key-file /etc/gpdedup.key --to /mnt/copy --to-key-file /etc/copy.key
	gpdedup repo copy --to /mnt/copy --to-key-file /etc/copy.key --timestamp 20261121213355 --dry-run
`
}

// Run copies.
func (c *RepoCopyCmd) Run(g *Globals) error {
	for _, ts := range c.Timestamps {
		if err := checkTimestamps("copy repository", ts); err != nil {
			return err
		}
	}
	if err := g.readFrom("copy repository", c.From, c.fromFlags); err != nil {
		return err
	}
	to, err := c.target(g)
	if err != nil {
		return err
	}
	source, err := g.Open("read")
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer source.Close()
	operation := "write"
	if c.DryRun {
		operation = "read"
	}
	target, err := to.Open(operation)
	if err != nil {
		return c.targetError(g, err)
	}
	defer target.Close()
	o := repo.CopyOptions{Timestamps: c.Timestamps, DryRun: c.DryRun}
	// What the environment or the configuration says is where names are looked for, and
	// no wish to leave the rest of a repository out.
	if g.namespaceFlag != "" || len(c.Timestamps) > 0 {
		o.Namespaces = []string{g.Namespace}
	}
	update, done := g.lateProgress("copying", size.Format)
	if g.showsProgress() {
		o.Progress = update // else nobody needs to know how much there is
	}
	report, err := repo.Copy(g.Context(), source, target, o)
	done()
	if partly := (*repo.CopyError)(nil); err != nil && !errors.As(err, &partly) {
		return err
	}
	g.countCopy(report)
	return errors.Join(g.Print(report, func(w io.Writer) { c.write(w, report) }), err)
}

// readFrom has a command read the repository that --from, or another flag, names. The
// key that --key-file and so on give is that repository's if no --from-… is given.
func (g *Globals) readFrom(command, location string, flags fromFlags) error {
	secret, err := flags.secret()
	if err != nil {
		return err
	}
	if location != "" {
		if g.repoFlag != "" && g.repoFlag != location {
			return usageError(command+": both --repo and --from are given", "--repo is the source too; leave it out")
		}
		g.Repo = location
	}
	if !secret.IsZero() {
		g.secret = secret
	}
	if g.Repo == "" {
		return usageError(command+": nothing says what to copy from", "give --from LOCATION")
	}
	return nil
}

// target completes what the flags say of the target from variables and a file of its own,
// in the same order as for the source.
func (c *RepoCopyCmd) target(g *Globals) (*Globals, error) {
	secret := repo.Secret{KeyFile: c.ToKeyFile, PasswordFile: c.ToPasswordFile, PasswordCommand: c.ToPasswordCommand}
	if err := oneSecret(secret, "--to-key-file", "--to-password-file", "--to-password-command", ""); err != nil {
		return nil, err
	}
	to := &Globals{
		Repo: c.To, KeyFile: c.ToKeyFile, PasswordFile: c.ToPasswordFile, PasswordCommand: c.ToPasswordCommand,
		CacheDir: g.CacheDir, Config: c.ToConfig, Quiet: g.Quiet, Verbose: g.Verbose,
		ctx: g.ctx, stdout: g.stdout, screen: g.screen, log: g.log, metrics: g.metrics,
	}
	err := to.settle(func(name string) string {
		if rest, ours := strings.CutPrefix(name, "GPDEDUP_"); ours {
			return os.Getenv("GPDEDUP_TO_" + rest)
		}
		return os.Getenv(name)
	})
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	to.fill(settings{Compression: g.compression, Delta: g.delta, Concurrency: g.concurrency})
	if to.Repo == "" {
		return nil, usageError("copy repository: nothing says what to copy to", "give --to LOCATION")
	}
	return to, nil
}

func (c *RepoCopyCmd) targetError(g *Globals, err error) error {
	hint := repo.Hint(err)
	switch {
	case errors.Is(err, repo.ErrNotRepository):
		hint = "make it first: gpdedup repo init --repo LOCATION --key-file FILE --copy-chunker-from " + g.Repo
	case errors.Is(err, repo.ErrWrongKey):
		hint = "the target's key is given with --to-key-file, --to-password-file or --to-password-command"
	}
	err = fmt.Errorf("target: %w", err)
	if hint == "" {
		return err
	}
	return repo.WithHint(err, hint)
}

func (c *RepoCopyCmd) write(w io.Writer, r *repo.CopyReport) {
	for _, p := range r.Problems {
		say(w, "not copied: %s: %s", p.Object, p.Problem)
	}
	for _, root := range r.Deleted {
		say(w, "not copied: %s: deleted in the source", root)
	}
	if !r.SharedChunks {
		say(w, "the repositories do not share chunk names, so streams are cut anew: the two histories do not deduplicate against each other")
	}
	verb, there := "copied", "was there already"
	if r.DryRun {
		verb, there = "would copy", "is there already"
	}
	if r.Already != 1 {
		there = strings.Replace(strings.Replace(there, "was", "were", 1), "is ", "are ", 1)
	}
	amount := formatBytes(r.NewBytes) + " new"
	switch {
	case r.DryRun && !r.SharedChunks:
		amount = "at most that much new"
	case r.DryRun:
		amount = "about " + amount + ", about " + formatBytes(r.StoredBytes) + " to store"
	default:
		amount += ", " + formatBytes(r.StoredBytes) + " stored"
	}
	say(w, "%s %s: %s, %s; %d %s", verb, count(r.Streams, "stream"), formatBytes(r.Bytes), amount, r.Already, there)
	if r.WALFiles+r.WALAlready > 0 {
		say(w, "%s %s: %s; %d there already", verb, count(r.WALFiles, "WAL file"), formatBytes(r.WALBytes), r.WALAlready)
	}
}
