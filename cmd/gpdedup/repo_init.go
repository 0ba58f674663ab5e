package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/size"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/local"
	"github.com/gpdedup/gpdedup/storage/probe"
	"github.com/gpdedup/gpdedup/storage/target"
)

// RepoInitCmd is gpdedup repo init.
type RepoInitCmd struct {
	NoEncryption bool    `name:"no-encryption" help:"Make a repository that whoever has the storage can read."`
	ChunkSize    *string `name:"chunk-size" placeholder:"SIZE" help:"Mean size of a chunk, 16KiB to 4MiB; 256KiB if nothing is said. It cannot be changed later."`
	ChunkerFrom  string  `name:"copy-chunker-from" group:"source" placeholder:"LOCATION" help:"Share chunk names, cut points and chunk size with this repository, so that 'repo copy' copies chunks as they are."`
	fromFlags
}

// Help shows examples.
func (RepoInitCmd) Help() string {
	return `A directory is made if it is missing; the one it lies in must exist. A directory
that exists must be empty. A bucket must exist; what it does is found out first, and
recorded. The key file is written if it does not exist; it is then all
that opens the repository, so keep a copy of it in another place. Where there is a
repository already, or anything else, nothing is changed and the exit code is 2.

With --copy-chunker-from the new repository gets the secret that names chunks from the
other one, and no other: each keeps its own keys. Either both are encrypted or neither.

Examples:

	gpdedup repo init --repo /backup/gpdedup --key-file /etc/gpdedup.key
	gpdedup repo init --repo /backup/gpdedup --password-command 'vault read …'
	gpdedup repo init --repo /backup/gpdedup --no-encryption
	gpdedup repo init --repo /mnt/copy --key-file /etc/copy.key --copy-chunker-from /backup/gpdedup --from-key-file /etc/gpdedup.key
	gpdedup repo init --repo s3://backup/gpdedup --endpoint https://s3.example.com --key-file /etc/gpdedup.key
`
}

type initReport struct {
	ID             string `json:"id"`
	Location       string `json:"location"`
	Encryption     string `json:"encryption"`
	ChunkSize      int    `json:"chunk_size"`
	KeyFile        string `json:"key_file,omitempty"`
	KeyFileCreated bool   `json:"key_file_created"`

	Target *repo.Target `json:"target,omitempty"` // of a bucket: what the probe found
}

// Run makes a repository.
func (c *RepoInitCmd) Run(g *Globals) (err error) {
	if err := g.needRepo(); err != nil {
		return err
	}
	secret, err := c.chooseSecret(g)
	if err != nil {
		return err
	}
	chunkSize, err := c.chunkSize()
	if err != nil {
		return err
	}
	// Before anything is made.
	secret, err = secret.Read(g.Context())
	if newKey := secret.KeyFile != "" && errors.Is(err, fs.ErrNotExist); err != nil && !newKey {
		return fmt.Errorf("init repository: %w", err)
	}
	chunker, err := c.chunkerFrom(g)
	if err != nil {
		return err
	}
	if chunker != nil {
		defer chunker.Close()
		if config := chunker.Config(); config.Encrypted() == secret.IsZero() {
			return usageError("init repository: of two repositories that share chunk names either both are encrypted or neither is",
				"leave --copy-chunker-from out; then what is copied is cut anew")
		}
	}
	st, err := createStorage(g)
	if err != nil {
		return err
	}
	defer st.Close()
	found, err := probeBucket(g, st)
	if err != nil {
		return err
	}
	report := initReport{Location: st.Location(), KeyFile: secret.KeyFile, Target: found}
	if secret.KeyFile != "" {
		if report.KeyFileCreated, err = ensureKeyFile(secret.KeyFile); err != nil {
			return err
		}
	}
	config, err := repo.Init(g.Context(), st, repo.InitOptions{
		Secret: secret, ChunkSize: chunkSize, ChunkerFrom: chunker, Now: time.Now(), Target: found,
	})
	if err != nil {
		if report.KeyFileCreated && repo.Hint(err) == "" {
			// It is never removed: somebody else may have begun to use it.
			err = repo.WithHint(err, "the new key file "+secret.KeyFile+" is good; another attempt will use it")
		}
		return err
	}
	report.ID, report.Encryption, report.ChunkSize = config.IDHex, config.Encryption, config.Chunks.Mean()
	return g.Print(report, report.write)
}

func (r *initReport) write(w io.Writer) {
	say(w, "made repository %.8s at %s: encryption %s, chunks of %s", r.ID, r.Location, r.Encryption, formatBytes(r.ChunkSize))
	if r.Target != nil && !r.Target.ConditionalPut {
		say(w, "the storage is weaker than others: see 'gpdedup repo probe', 'gpdedup repo info'")
	}
	if r.KeyFileCreated {
		say(w, "wrote a new key to %s", r.KeyFile)
		say(w, "keep a copy of it in another place: without it nobody can read the repository")
	}
}

// probeBucket finds out what a bucket does that others do not, and refuses one that a
// repository would not be safe in. Of a directory nothing needs to be found out.
func probeBucket(g *Globals, st storage.Storage) (*repo.Target, error) {
	if _, ok := storage.As[storage.Traited](st); !ok {
		return nil, nil //nolint:nilnil // as the comment says
	}
	there, err := st.Children(g.Context(), "")
	if err != nil {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	for _, c := range there {
		if c.Name+"/" != probe.Prefix {
			return nil, usageError(fmt.Sprintf("init repository: %s: other objects lie there (%s)", st.Location(), c.Name), "give a --repo with a prefix under which nothing lies")
		}
	}
	found, err := probe.Run(g.Context(), st)
	if err != nil {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	if err := unfit(st.Location(), found); err != nil {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	return &repo.Target{
		Probed:         time.Now().UTC().Truncate(time.Second),
		ConditionalPut: found.Traits.ConditionalPut == storage.Yes, CRC32C: found.Traits.CRC32C == storage.Yes,
	}, nil
}

// chooseSecret returns what will open the repository; zero is no encryption, which
// must be asked for.
func (c *RepoInitCmd) chooseSecret(g *Globals) (repo.Secret, error) {
	if c.NoEncryption {
		if g.KeyFile != "" || g.PasswordFile != "" || g.PasswordCommand != "" {
			return repo.Secret{}, usageError("init repository: both a key and --no-encryption are given", "choose one")
		}
		return repo.Secret{}, nil
	}
	if g.secret.IsZero() {
		return repo.Secret{}, usageError("init repository: nothing says how it is to be encrypted",
			"give --key-file FILE, --password-file FILE or --password-command COMMAND, or else --no-encryption")
	}
	return g.secret, nil
}

// chunkerFrom opens the repository that chunk names are to be shared with, if any.
func (c *RepoInitCmd) chunkerFrom(g *Globals) (*repo.Repo, error) {
	secret, err := c.secret()
	if err != nil {
		return nil, err
	}
	if c.ChunkerFrom == "" {
		if !secret.IsZero() {
			return nil, usageError("init repository: a --from-… key is given, but no --copy-chunker-from", "")
		}
		return nil, nil
	}
	if c.ChunkSize != nil {
		return nil, usageError("init repository: both --chunk-size and --copy-chunker-from are given", "the size of chunks is shared too; leave --chunk-size out")
	}
	from := *g
	from.Repo, from.secret = c.ChunkerFrom, secret
	r, err := from.Open("read")
	if errors.Is(err, repo.ErrWrongKey) {
		err = repo.WithHint(err, "its key is given with --from-key-file, --from-password-file or --from-password-command")
	}
	if err != nil {
		return nil, fmt.Errorf("init repository: --copy-chunker-from: %w", err)
	}
	return r, nil
}

// chunkSize is 0 if nothing is said.
func (c *RepoInitCmd) chunkSize() (int, error) {
	if c.ChunkSize == nil {
		return 0, nil
	}
	n, err := size.Parse(*c.ChunkSize)
	if err != nil {
		return 0, usageError("init repository: --chunk-size: "+err.Error(), "")
	}
	if n < repo.MinChunkSize || n > repo.MaxChunkSize {
		return 0, usageError(fmt.Sprintf("init repository: --chunk-size: %s is not between 16KiB and 4MiB", *c.ChunkSize), "")
	}
	return int(n), nil
}

// createStorage makes the place for the repository, and says which of the reasons
// why it cannot be there is the case.
func createStorage(g *Globals) (storage.Storage, error) {
	// Create says only that something is there; what, the user should know.
	if st, err := target.OpenWith(g.Repo, g.target); err == nil {
		defer st.Close()
		_, err := st.Stat(g.Context(), "config")
		if err != nil && target.IsBucket(g.Repo) && !errors.Is(err, storage.ErrNotExist) {
			return nil, fmt.Errorf("init repository: %w", err) // and not once more, after the same patience
		}
		if err == nil {
			return nil, usageError(fmt.Sprintf("init repository: %s: holds a repository already", st.Location()),
				"use it as it is, or give another --repo; 'gpdedup repo info' shows it")
		}
	}
	st, err := target.CreateWith(g.Repo, g.target)
	switch {
	case errors.Is(err, local.ErrNotEmpty):
		return nil, fmt.Errorf("init repository: %w: %w", usageError("not here", "give a --repo that is empty or does not exist yet"), err)
	case errors.Is(err, target.ErrExposed):
		return nil, repo.WithHint(fmt.Errorf("init repository: %w", err), "chmod o-w "+g.Repo)
	case errors.Is(err, syscall.ENOTDIR):
		return nil, usageError(fmt.Sprintf("init repository: %s: not a directory", g.Repo), "give a --repo that is empty or does not exist yet")
	case errors.Is(err, fs.ErrNotExist):
		return nil, repo.WithHint(fmt.Errorf("init repository: %w", err), "make the directory that it is to lie in, or mount what is to be mounted there")
	case err != nil:
		return nil, fmt.Errorf("init repository: %w", err)
	}
	return st, nil
}

// ensureKeyFile writes a key file unless there is one.
func ensureKeyFile(path string) (created bool, err error) {
	err = repo.CreateKeyFile(path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		err = repo.WithHint(err, "make "+filepath.Dir(path)+" first")
	}
	return false, fmt.Errorf("init repository: %w", err)
}
