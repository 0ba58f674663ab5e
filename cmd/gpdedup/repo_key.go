package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// RepoKeyCmd is the group gpdedup repo key.
type RepoKeyCmd struct {
	List   RepoKeyListCmd   `cmd:"" help:"Say what opens the repository."`
	Add    RepoKeyAddCmd    `cmd:"" help:"Let another key file or password open it."`
	Remove RepoKeyRemoveCmd `cmd:"" help:"Take the right to open it from a key file or password."`
	Rotate RepoKeyRotateCmd `cmd:"" help:"Seal what is stored from now on with a fresh secret."`
}

// openKeys opens the repository to look at its keys, or to change them.
func (g *Globals) openKeys(operation string) (*repo.Repo, error) {
	r, err := g.Open(operation)
	if errors.Is(err, repo.ErrWrongKey) && g.secret.IsZero() {
		return nil, err // its hint says how to give one
	}
	if errors.Is(err, repo.ErrWrongKey) && repo.Hint(err) == "" {
		err = repo.WithHint(err, "give a key that opens it now; what is to be added goes behind --new-key-file, --new-password-file or --new-password-command")
	}
	return r, err
}

// RepoKeyListCmd is gpdedup repo key list.
type RepoKeyListCmd struct{}

// Help shows an example.
func (RepoKeyListCmd) Help() string {
	return `Shows each key slot: what kind of secret opens it, when it was made, and which key
epochs it opens. What is stored now is sealed with the newest epoch. The mark * is at the
slot that opened the repository for this command.

Example:

	gpdedup repo key list --repo /backup/gpdedup --key-file /etc/gpdedup.key
`
}

// Run lists the slots.
func (RepoKeyListCmd) Run(g *Globals) error {
	r, err := g.openKeys("read")
	if err != nil {
		return err
	}
	defer r.Close()
	keys, err := r.KeyTable(g.Context())
	if err != nil {
		return err
	}
	return g.Print(keys, func(w io.Writer) { writeKeys(w, keys) })
}

func writeKeys(w io.Writer, keys *repo.KeyTable) {
	t := newTable(w)
	row(t, "", "ID", "KIND", "CREATED", "EPOCHS", "NEW DATA")
	for _, s := range keys.Slots {
		mark, current := "", "no"
		if s.Opened {
			mark = "*"
		}
		if s.Current {
			current = "yes"
		}
		row(t, mark, s.ID, s.Kind, formatTime(s.Created), formatEpochs(s.Epochs), current)
	}
	_ = t.Flush() // to a buffer
	say(w, "newest key epoch %d; changed %s", keys.Epoch, formatTime(keys.Changed))
	for _, key := range keys.Superseded {
		say(w, "could not be removed: %s, which opens the repository for whoever has the storage and a secret of before", key)
	}
}

// formatEpochs writes numbers, which ascend, with ranges.
func formatEpochs(epochs []uint16) string {
	var parts []string
	for i := 0; i < len(epochs); {
		j := i
		for j+1 < len(epochs) && epochs[j+1] == epochs[j]+1 {
			j++
		}
		part := strconv.Itoa(int(epochs[i]))
		if j > i {
			part += "-" + strconv.Itoa(int(epochs[j]))
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// RepoKeyAddCmd is gpdedup repo key add.
type RepoKeyAddCmd struct {
	NewKeyFile         string `name:"new-key-file" placeholder:"FILE" help:"The key in this file, which is written if it does not exist."`
	NewPasswordFile    string `name:"new-password-file" placeholder:"FILE" help:"The password in the first line of this file."`
	NewPasswordCommand string `name:"new-password-command" placeholder:"COMMAND" help:"The password that this shell command prints, a call of a key management service for example."`
}

// Help shows examples.
func (RepoKeyAddCmd) Help() string {
	return `The repository is opened with the key that it has, and the new one then opens it, too:
everything in it. To add a secret that opens it already changes nothing, and is no error.

Examples:

	gpdedup repo key add --repo /backup/gpdedup --key-file /etc/gpdedup.key --new-key-file /etc/gpdedup-2.key
	gpdedup repo key add --new-password-file /root/recovery.password
	gpdedup repo key add --new-password-command 'vault kv get -field=password secret/gpdedup'
`
}

type keyAddReport struct {
	ID             string         `json:"id"`
	KeyFile        string         `json:"key_file,omitempty"`
	KeyFileCreated bool           `json:"key_file_created"`
	Keys           *repo.KeyTable `json:"keys"`
}

// Run adds a slot.
func (c *RepoKeyAddCmd) Run(g *Globals) error {
	secret := repo.Secret{KeyFile: c.NewKeyFile, PasswordFile: c.NewPasswordFile, PasswordCommand: c.NewPasswordCommand}
	if err := oneSecret(secret, "--new-key-file", "--new-password-file", "--new-password-command", ""); err != nil {
		return err
	}
	if secret.IsZero() {
		return usageError("add key: nothing says which", "give --new-key-file FILE, --new-password-file FILE or --new-password-command COMMAND")
	}
	// Before the repository is opened, which may take a password's time.
	if _, err := secret.Read(g.Context()); err != nil && (secret.KeyFile == "" || !errors.Is(err, fs.ErrNotExist)) {
		return fmt.Errorf("add key: %w", err)
	}
	r, err := g.openKeys("write")
	if err != nil {
		return err
	}
	defer r.Close()
	report := keyAddReport{KeyFile: secret.KeyFile}
	if config := r.Config(); secret.KeyFile != "" && config.Encrypted() {
		if report.KeyFileCreated, err = ensureKeyFile(secret.KeyFile); err != nil {
			return fmt.Errorf("add key: %w", err)
		}
	}
	if report.Keys, report.ID, err = r.AddKey(g.Context(), secret, time.Now()); err != nil {
		if report.KeyFileCreated && repo.Hint(err) == "" {
			err = repo.WithHint(err, "the new key file "+secret.KeyFile+" is good; another attempt will use it")
		}
		return err
	}
	return g.Print(report, func(w io.Writer) {
		if report.KeyFileCreated {
			say(w, "wrote a new key to %s; keep a copy of it in another place", report.KeyFile)
		}
		say(w, "it opens the repository, as %s", report.ID)
	})
}

// RepoKeyRemoveCmd is gpdedup repo key remove.
type RepoKeyRemoveCmd struct {
	ID string `arg:"" help:"The slot's id, or how no other begins: 'gpdedup repo key list' shows them."`
}

// Help shows an example.
func (RepoKeyRemoveCmd) Help() string {
	return `Afterwards the secret of the slot opens nothing that lies in the storage. The last slot
that opens the newest epoch stays: the exit code is then 2.

What was possible before cannot be undone. Whoever has the secret and an old copy of the
repository's keys/ can read what has been stored, and what will be until the keys are
rotated, as far as they get at it. Host caches of buckets keep what is below keys/ for up
to an hour.

Where nothing may be deleted this fails, for then the slot would stay readable.

Examples:

	gpdedup repo key list
	gpdedup repo key remove file-0b1c && gpdedup repo key rotate
`
}

type keyRemoveReport struct {
	Removed string         `json:"removed"`
	Keys    *repo.KeyTable `json:"keys"`
}

// Run removes a slot.
func (c *RepoKeyRemoveCmd) Run(g *Globals) error {
	r, err := g.openKeys("write")
	if err != nil {
		return err
	}
	defer r.Close()
	keys, removed, err := r.RemoveKey(g.Context(), c.ID, time.Now())
	if err != nil {
		return err
	}
	return g.Print(keyRemoveReport{removed, keys}, func(w io.Writer) {
		say(w, "removed %s", removed)
		say(w, "whoever has its secret and an old copy of keys/ can still read what is sealed up to epoch %d: %s", keys.Epoch,
			"all that is there now, and what will be stored until you run 'gpdedup repo key rotate'")
	})
}

// RepoKeyRotateCmd is gpdedup repo key rotate.
type RepoKeyRotateCmd struct {
	AlsoKeyFile         []string `name:"also-key-file" sep:"none" placeholder:"FILE" help:"Another key file that is to open what is stored from now on. May be given several times."`
	AlsoPasswordFile    []string `name:"also-password-file" sep:"none" placeholder:"FILE" help:"Another password, in the first line of this file. May be given several times."`
	AlsoPasswordCommand []string `name:"also-password-command" sep:"none" placeholder:"COMMAND" help:"Another password, that this command prints. May be given several times."`
	DropOthers          bool     `name:"drop-others" help:"Remove the slots whose secrets are not given."`
	KeepOthers          bool     `name:"keep-others" help:"Leave the slots whose secrets are not given: they open what was stored before, and nothing else."`
}

// Help shows examples.
func (RepoKeyRotateCmd) Help() string {
	return `Makes a new key epoch: a fresh random secret with which everything is sealed from now on,
data and metadata. The key that opens the repository for this command opens the new epoch,
and so do those given with --also-…. For a slot whose secret is not given the new
secret cannot be wrapped: it would not open new backups. If there is one, nothing is done,
unless --drop-others or --keep-others says what is to become of it; the exit code is 2.

What was stored before is not sealed anew. All keys that open it go on doing so, and
deduplication goes on. Names of chunks and cut points do not change. Running
processes and, with buckets, hosts that opened the repository within the last hour may
write some more with the epoch before; they read everything.

To get rid of a key that somebody else may have: add a new one, give it to all hosts, and
rotate with the new one and --drop-others.

Examples:

	gpdedup repo key rotate --repo /backup/gpdedup --key-file /etc/gpdedup.key --also-password-file /root/recovery.password
	gpdedup repo key add --key-file /etc/old.key --new-key-file /etc/new.key && gpdedup repo key rotate --key-file /etc/new.key --drop-others
`
}

type keyRotateReport struct {
	Epoch   uint16         `json:"epoch"`
	Left    []repo.KeySlot `json:"left"`    // do not open it
	Dropped bool           `json:"dropped"` // and were removed
	Keys    *repo.KeyTable `json:"keys"`
}

// Run rotates.
func (c *RepoKeyRotateCmd) Run(g *Globals) error {
	o := repo.RotateOptions{Now: time.Now()}
	switch {
	case c.DropOthers && c.KeepOthers:
		return usageError("rotate keys: both --drop-others and --keep-others are given", "choose one")
	case c.DropOthers:
		o.Others = repo.DropOthers
	case c.KeepOthers:
		o.Others = repo.KeepOthers
	}
	for _, f := range c.AlsoKeyFile {
		o.Also = append(o.Also, repo.Secret{KeyFile: f})
	}
	for _, f := range c.AlsoPasswordFile {
		o.Also = append(o.Also, repo.Secret{PasswordFile: f})
	}
	for _, command := range c.AlsoPasswordCommand {
		o.Also = append(o.Also, repo.Secret{PasswordCommand: command})
	}
	r, err := g.openKeys("write")
	if err != nil {
		return err
	}
	defer r.Close()
	keys, left, err := r.RotateKeys(g.Context(), o)
	if err != nil {
		return err
	}
	report := &keyRotateReport{Epoch: keys.Epoch, Left: append([]repo.KeySlot{}, left...), Dropped: c.DropOthers, Keys: keys}
	return g.Print(report, report.write)
}

func (r *keyRotateReport) write(w io.Writer) {
	say(w, "what is stored from now on is sealed with key epoch %d", r.Epoch)
	for _, s := range r.Keys.Slots {
		if s.Current {
			say(w, "opens it: %s (%s)", s.ID, s.Kind)
		}
	}
	for _, s := range r.Left {
		if r.Dropped {
			say(w, "removed: %s (%s)", s.ID, s.Kind)
		} else {
			say(w, "opens only what was stored before: %s (%s)", s.ID, s.Kind)
		}
	}
	for _, key := range r.Keys.Superseded {
		say(w, "could not be removed: %s; it opens what was stored before", key)
	}
	say(w, "what was stored before stays sealed as it is, and whoever could read it still can")
}
