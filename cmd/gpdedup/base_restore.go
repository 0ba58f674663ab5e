package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/base"
	"github.com/gpdedup/gpdedup/wal/quick"
)

// BaseRestoreCmd is gpdedup base restore.
type BaseRestoreCmd struct {
	TargetDir string        `name:"target-dir" short:"D" placeholder:"DIR" help:"The data directory to make. It must be empty, or not be there."`
	Tar       string        `name:"tar" placeholder:"FILE" help:"Write the tar archive to this file instead, - for standard output; nothing is set up for a recovery."`
	Backup    string        `name:"backup" placeholder:"LABEL" help:"Begin with this base backup; the newest before the target if nothing is said."`
	Latest    bool          `name:"latest" xor:"target" help:"Recover to the end of the WAL. So it is if no target is given, but for a backup whose WAL is kept to its own end only."`
	Immediate bool          `name:"immediate" xor:"target" help:"Recover to where the backup is consistent, no further."`
	Time      string        `name:"time" xor:"target" placeholder:"TIME" help:"Recover to this time: 2026-11-22 14:30:00+01, or without zone in that of this host."`
	LSN       string        `name:"lsn" xor:"target" placeholder:"LSN" help:"Recover to this address in the WAL: 16/B374D848."`
	Name      string        `name:"name" xor:"target" placeholder:"NAME" help:"Recover to this restore point, as pg_create_restore_point named it."`
	XID       string        `name:"xid" xor:"target" placeholder:"XID" help:"Recover to this transaction's commit."`
	Exclusive bool          `name:"exclusive" help:"Stop just before the target, not just after it."`
	Timeline  string        `name:"timeline" placeholder:"TLI" complete:"latest,current" help:"Follow this timeline: a number, latest (the default) or current, which is the backup's own."`
	Action    string        `name:"target-action" enum:"promote,pause,shutdown" default:"promote" help:"What the server does at the target: take writes on a new timeline, wait for pg_wal_replay_resume(), or stop."`
	Standby   bool          `name:"standby" help:"Make a standby, which follows the archive; primary_conninfo is yours to add."`
	NoArchive bool          `name:"no-archive" help:"Set archive_mode to off: for a copy that is to write nothing to the archive."`
	Mapping   []string      `name:"tablespace-mapping" short:"T" placeholder:"OLD=NEW" help:"Put the tablespace that was at OLD, or has that oid, into NEW."`
	Patience  time.Duration `name:"patience" default:"10s" placeholder:"TIME" help:"How long to wait for WAL that is missing among later segments: it may be on its way."`
	Fetch     string        `name:"fetch-patience" hidden:"" help:"Passed to wal fetch as --patience."`
	Force     bool          `help:"Write the tar archive to standard output even if it is a terminal."`
}

// Help shows examples.
func (BaseRestoreCmd) Help() string {
	return `Every file is checked against the server's own backup_manifest, and durable, before the
exit code is 0. Then start the server: postgresql.auto.conf has restore_command, with this
program, this repository and this key file, and the target; recovery.signal, or
standby.signal, is there. At the target the server takes writes, on a new timeline.

WAL that the recovery needs and the archive does not have is named before anything is
written; the exit code is 4 then. After any failure no server starts from what is there.

Run it as the user that the server runs as. A key that is given by an environment variable
must be in the server's environment too. Configuration files that are kept outside the data
directory are not part of a base backup. In a tar archive, tablespaces are directories below
pg_tblspc: move them and put links there, or set allow_in_place_tablespaces.

Examples:

	gpdedup base restore --cluster main --target-dir /var/lib/postgresql/15/main
	gpdedup base restore --cluster main -D /restore/main --time '2026-11-22 14:29:00' --no-archive
	gpdedup base restore --cluster main -D /restore/main --standby -T /ts/fast=/restore/fast
	gpdedup base restore --cluster main --backup 20261122T020000Z --tar - | tar -tv
`
}

type baseRestoreReport struct {
	Namespace string    `json:"namespace"`
	Content   string    `json:"content"`
	Backup    base.Info `json:"backup"`
	Target    string    `json:"target"`
	Timeline  string    `json:"timeline"`
	Until     string    `json:"until"` // the last segment that is there
	Output    string    `json:"output"`
	Warnings  []string  `json:"warnings"`
}

// Run restores a base backup.
func (c *BaseRestoreCmd) Run(g *Globals, b *BaseCmd) error {
	if err := c.run(g, b); err != nil {
		return fmt.Errorf("base restore: %w", err)
	}
	return nil
}

func (c *BaseRestoreCmd) run(g *Globals, b *BaseCmd) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	mapping, err := c.mapping()
	if err != nil {
		return err
	}
	switch {
	case (c.TargetDir == "") == (c.Tar == ""):
		return usageError("either --target-dir or --tar must be given", "gpdedup base restore --help")
	case c.Tar != "" && (target.Kind != base.Unsaid || c.Standby || c.Timeline != "" || len(mapping) > 0):
		return usageError("--tar writes the backup as it is: no target, --standby, --timeline or --tablespace-mapping goes with it", "--backup chooses which")
	}
	r, a, err := b.open(g, "read")
	if err != nil {
		return err
	}
	defer r.Close()
	if c.Tar != "" {
		return c.tar(g, b, r, a)
	}
	label := c.Backup
	if label == newest {
		label = ""
		if latest, err := base.Newest(g.Context(), r, a); err == nil {
			label = latest.Name.Item
		}
	}
	plan, err := base.Choose(g.Context(), r, a, label, target, c.Patience)
	if err != nil {
		return err
	}
	for _, w := range plan.Warnings {
		say(g.Stderr(), "gpdedup: warning: %s", w)
	}
	command, err := restoreCommand(g, b, c.Fetch)
	if err != nil {
		return err
	}
	update, done := g.Progress("restoring "+plan.Backup.Name.Item, int64(plan.Backup.Manifest.Length))
	err = base.Restore(g.Context(), r, plan, base.RestoreOptions{
		Dir: c.TargetDir, Mapping: mapping, Progress: update,
		Settings: base.Settings{RestoreCommand: command, Action: c.Action, NoArchive: c.NoArchive},
	})
	done()
	if err != nil {
		return err
	}
	g.metrics.Restored(1, plan.Backup.Manifest.Length)
	report := baseRestoreReport{
		Namespace: g.Namespace, Content: b.Content, Backup: *plan.Backup.Info, Target: string(plan.Target.Kind),
		Timeline: plan.Timeline, Until: plan.Until, Output: c.TargetDir, Warnings: append([]string{}, plan.Warnings...),
	}
	return g.Print(report, func(out io.Writer) {
		say(out, "restored base backup %s to %s: %s; start the server to recover (%s)", plan.Backup.Name.Item, c.TargetDir,
			formatBytes(plan.Backup.Info.Bytes), describe(plan))
	})
}

func describe(p *base.Plan) string {
	switch p.Target.Kind {
	case base.Latest:
		if p.Target.Standby {
			return "as a standby"
		}
		return "to the end of the WAL, now " + p.Until
	case base.Immediate:
		return "to where the backup is consistent, " + p.Backup.Info.Stop
	case base.AtTime:
		return "to " + p.Target.Time.Format(time.RFC3339Nano)
	case base.AtLSN:
		return "to " + p.Target.LSN.String()
	}
	return fmt.Sprintf("to %s %s", p.Target.Kind, p.Target.Text)
}

func (c *BaseRestoreCmd) target() (base.Target, error) {
	t := base.Target{Timeline: c.Timeline, Standby: c.Standby, Exclusive: c.Exclusive}
	var err error
	switch {
	case c.Latest:
		t.Kind = base.Latest
	case c.Immediate:
		t.Kind = base.Immediate
	case c.Time != "":
		t.Kind = base.AtTime
		t.Time, err = parseTime(c.Time)
	case c.LSN != "":
		t.Kind = base.AtLSN
		if t.LSN, err = wal.ParseLSN(c.LSN); err != nil {
			err = usageError("--lsn: "+err.Error(), "")
		}
	case c.Name != "":
		t.Kind, t.Text = base.AtName, c.Name
		if len(c.Name) > 63 {
			err = usageError("--name: a restore point's name has 63 bytes at most", "")
		}
	case c.XID != "":
		t.Kind, t.Text = base.AtXID, c.XID
		if _, xerr := strconv.ParseUint(c.XID, 10, 64); xerr != nil {
			err = usageError(fmt.Sprintf("--xid: %q is not a transaction id", c.XID), "")
		}
	case c.Exclusive:
		err = usageError("--exclusive goes with --time, --lsn or --xid", "gpdedup base restore --help")
	case c.Standby:
		t.Kind = base.Latest
	}
	return t, err
}

// parseTime reads a time as PostgreSQL writes it, or in the format of RFC 3339.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07",
		"2006-01-02 15:04:05.999999999 Z07:00", "2006-01-02 15:04:05.999999999 Z07", "2006-01-02 15:04:05.999999999 UTC",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError(fmt.Sprintf("--time: %q is not a time", s), "--time '2026-11-22 14:30:00+01'; without a zone, that of this host counts")
}

func (c *BaseRestoreCmd) mapping() (map[string]string, error) {
	m := make(map[string]string)
	for _, arg := range c.Mapping {
		from, to, found := strings.Cut(arg, "=")
		if !found || from == "" || to == "" {
			return nil, usageError(fmt.Sprintf("--tablespace-mapping %q is not of the form OLD=NEW", arg), "gpdedup base list --json shows where tablespaces were")
		}
		if filepath.IsAbs(from) {
			from = filepath.Clean(from)
		}
		m[from] = to
	}
	return m, nil
}

// restoreCommand returns what the recovered server is to run: this program, with what it
// was told about the repository here.
func restoreCommand(g *Globals, b *BaseCmd, patience string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	words := []string{program, "wal", "fetch", "--cluster", g.Namespace}
	if b.Content != wal.DefaultContent {
		words = append(words, "--content", b.Content)
	}
	if patience != "" {
		words = append(words, "--patience", patience)
	}
	path := func(p string) string {
		if abs, err := filepath.Abs(p); err == nil {
			return abs
		}
		return p
	}
	location := g.Repo
	if !strings.Contains(location, "://") {
		location = path(location)
	}
	words = append(words, "--repo", location)
	// A relative path means another file in the server's working directory.
	switch {
	case g.secret.KeyFile != "":
		words = append(words, "--key-file", path(g.secret.KeyFile))
	case g.secret.PasswordFile != "":
		words = append(words, "--password-file", path(g.secret.PasswordFile))
	case g.secret.PasswordCommand != "":
		words = append(words, "--password-command", g.secret.PasswordCommand)
	case g.secret.Password != "":
		say(g.Stderr(), "gpdedup: warning: GPDEDUP_PASSWORD must be in the server's environment too")
	}
	if t := g.target; strings.Contains(location, "://") {
		for _, f := range []struct{ flag, value string }{{"--endpoint", t.Endpoint}, {"--region", t.Region}, {"--ca-file", t.CAFile}} {
			if f.value != "" && f.flag == "--ca-file" {
				f.value = path(f.value)
			}
			if f.value != "" {
				words = append(words, f.flag, f.value)
			}
		}
		if t.PathStyle != nil && *t.PathStyle {
			words = append(words, "--path-style")
		} else if t.PathStyle != nil {
			words = append(words, "--no-path-style")
		}
		if os.Getenv("AWS_ACCESS_KEY_ID") != "" || os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != "" {
			say(g.Stderr(), "gpdedup: warning: what the AWS variables say must be in the server's environment too")
		}
	}
	if g.Config != "" {
		words = append(words, "--config", path(g.Config))
	}
	if g.CacheDir != "" && g.CacheDir != quick.CacheDir() {
		words = append(words, "--cache-dir", path(g.CacheDir))
	}
	for i := range words {
		if strings.ContainsAny(words[i], "\n\r\x00") {
			return "", errors.New("a path with a line break cannot go into restore_command")
		}
		words[i] = base.ShellWord(words[i])
	}
	return strings.Join(words, " ") + " %f %p", nil
}

// tar writes the tar archive.
func (c *BaseRestoreCmd) tar(g *Globals, b *BaseCmd, r *repo.Repo, a *wal.Archive) (err error) {
	backup, err := b.backup(g.Context(), r, a, c.Backup)
	if err != nil {
		return err
	}
	out := g.Stdout()
	if c.Tar == "-" {
		if err := checkStdout(g, c.Force); err != nil {
			return err
		}
	} else {
		if err := plugin.CheckOpen(plugin.Stdout); err != nil {
			return err
		}
		f, err := os.OpenFile(c.Tar, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return repo.WithHint(err, "nothing is ever overwritten: remove it, or choose another file")
		}
		out = f
		defer func() {
			if err == nil {
				err = errors.Join(f.Sync(), f.Close(), syncDir(filepath.Dir(c.Tar)))
				return
			}
			_ = f.Close() // what it holds is not wanted
			_ = os.Remove(c.Tar)
		}()
	}
	update, done := g.Progress("reading "+backup.Name.Item, int64(backup.Manifest.Length))
	err = base.RestoreTar(g.Context(), r, backup, out, update)
	done()
	if err != nil || c.Tar == "-" {
		if closer, ok := out.(io.Closer); ok && err != nil && c.Tar == "-" {
			_ = closer.Close() // it has failed already, and whoever reads it should see its end first
		}
		return err
	}
	return g.Print(map[string]any{"namespace": g.Namespace, "content": b.Content, "backup": backup.Info, "output": c.Tar}, func(w io.Writer) {
		say(w, "wrote base backup %s to %s: %s", backup.Name.Item, c.Tar, formatBytes(backup.Manifest.Length))
	})
}
