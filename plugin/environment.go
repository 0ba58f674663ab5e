package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/target"
)

// DefaultNamespace is the namespace of who names none.
const DefaultNamespace = "default"

// Complete fills what the file leaves open from the environment, and then with
// defaults. The file wins, so that a stray variable on one host cannot send that
// host's streams elsewhere; the ways to give the key count as one option.
func (c *Config) Complete(getenv func(string) string) error {
	fill := func(dst *string, variable string, check func(string) error) error {
		if *dst != "" {
			return nil
		}
		if *dst = getenv(variable); *dst == "" {
			return nil
		}
		if err := check(*dst); err != nil {
			return usagef("%s: %w", variable, err)
		}
		return nil
	}
	anything := func(string) error { return nil }
	err := errors.Join(
		fill(&c.Repository, "GPDEDUP_REPO", absoluteLocation),
		fill(&c.Namespace, "GPDEDUP_NAMESPACE", anything),
		fill(&c.CacheDir, "GPDEDUP_CACHE_DIR", absolute),
		fill(&c.MetricsFile, "GPDEDUP_METRICS_FILE", absolute),
	)
	if c.Secret.IsZero() {
		c.Secret.Password = getenv("GPDEDUP_PASSWORD")
		err = errors.Join(err,
			fill(&c.Secret.KeyFile, "GPDEDUP_KEY_FILE", absolute),
			fill(&c.Secret.PasswordFile, "GPDEDUP_PASSWORD_FILE", absolute),
			fill(&c.Secret.PasswordCommand, "GPDEDUP_PASSWORD_COMMAND", anything),
		)
		if many := oneSecret(c.Secret, "GPDEDUP_KEY_FILE", "GPDEDUP_PASSWORD_FILE", "GPDEDUP_PASSWORD_COMMAND", "GPDEDUP_PASSWORD"); many != nil {
			err = errors.Join(err, Usage(many))
		}
	}
	if err != nil {
		return err
	}
	if err := c.ReadSecrets(getenv); err != nil {
		return err
	}
	// What the file leaves open is the environment's, as everywhere.
	c.Target.Fill(target.Environment(getenv))
	if c.Repository == "" {
		return usagef("the configuration names no repository: the option repository is missing")
	}
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	if c.CacheDir == "" {
		if dir, err := os.UserCacheDir(); err == nil { // else there is none
			c.CacheDir = filepath.Join(dir, "gpdedup")
		}
	}
	return nil
}

// Open opens the repository for "read", "write" or "gc". version is the program's.
func (c *Config) Open(ctx context.Context, operation, version string, log *slog.Logger) (*repo.Repo, error) {
	o := c.Target
	o.Requests = c.Concurrency
	if log != nil {
		o.Notify = func(op, key string, attempt int, err error) {
			if c.retried != nil {
				c.retried()
			}
			log.Warn("storage fails, will try again", "operation", op, "key", key, "attempt", attempt, "error", err)
		}
	}
	st, err := target.OpenWith(c.Repository, o)
	if errors.Is(err, storage.ErrNotExist) {
		return nil, repo.WithHint(fmt.Errorf("open repository: %s: %w: no such directory", c.Repository, repo.ErrNotRepository),
			"is the location right on this host, and the file system that it lies on mounted? To make a new one: gpdedup repo init")
	}
	if err != nil {
		return nil, err
	}
	r, err := repo.Open(ctx, st, operation, repo.Options{
		Secret: c.Secret, CacheDir: c.CacheDir, Compression: c.Compression, Delta: c.Delta, Concurrency: c.Concurrency,
		Version: version, Log: log, Reuse: c.reuse,
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return r, nil
}
