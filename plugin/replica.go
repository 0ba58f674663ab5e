package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/gpdedup/gpdedup/repo"
)

// ReplicateBackup copies a timestamp to the replica. What is there already is a success.
func (p *Process) ReplicateBackup(ctx context.Context, configPath, timestamp string) error {
	c, replica, err := p.configureReplica(configPath, timestamp)
	if err != nil {
		return err
	}
	from, err := p.openWith(ctx, c, "read")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := p.openReplica(ctx, replica, "write")
	if err != nil {
		return err
	}
	defer to.Close()
	report, err := repo.Copy(ctx, from.Repo, to.Repo, repo.CopyOptions{Namespaces: []string{c.Namespace}, Timestamps: []string{timestamp}})
	p.countCopy(report)
	for _, problem := range report.Problems {
		p.log.Error("not copied", "object", problem.Object, "problem", problem.Problem)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.command, err)
	}
	p.log.Info("replicated", "timestamp", timestamp, "replica", to.Storage().Location(), "streams", report.Streams, "there", report.Already,
		"bytes", report.Bytes, "new_bytes", report.NewBytes, "stored_bytes", report.StoredBytes, "shared_chunks", report.SharedChunks)
	return nil
}

// alreadyDeleted is what scripts that delete replicas wait for.
const alreadyDeleted = "already deleted"

// DeleteReplica deletes a timestamp in the replica, and in nothing but the replica. Where
// it is deleted, or never was, the one line on standard output says so.
func (p *Process) DeleteReplica(ctx context.Context, configPath, timestamp string) error {
	_, replica, err := p.configureReplica(configPath, timestamp)
	if err != nil {
		return err
	}
	s, err := p.openReplica(ctx, replica, "gc")
	if err != nil {
		return err
	}
	defer s.Close()
	name := repo.Name{Class: repo.Backup, Namespace: replica.Namespace, Group: timestamp}
	gone, err := s.Deleted(ctx, name)
	if err != nil {
		return fmt.Errorf("%s: %w", p.command, err)
	}
	if !gone {
		// A tombstone of what never came would keep it from ever coming.
		items, err := s.Items(ctx, repo.Backup, name.Namespace, timestamp)
		if err != nil {
			return fmt.Errorf("%s: %w", p.command, err)
		}
		gone = len(items) == 0
	}
	if gone {
		if _, err := fmt.Fprintln(p.stdout, alreadyDeleted); err != nil {
			return &repo.OutputError{Err: err}
		}
		return nil
	}
	if err := s.Delete(ctx, name); err != nil {
		return fmt.Errorf("%s: %w", p.command, err)
	}
	p.log.Info("deleted in the replica", "timestamp", timestamp, "replica", s.Storage().Location())
	return nil
}

// configureReplica reads the configuration, and the replica's.
func (p *Process) configureReplica(configPath, timestamp string) (c, replica *Config, err error) {
	if c, err = p.configure(configPath); err != nil {
		return nil, nil, err
	}
	if !IsTimestamp(timestamp) {
		return nil, nil, usagef("%s: %q is not a timestamp of 14 digits", p.command, timestamp)
	}
	where := configPath
	switch {
	case c.Replica == nil:
		err = usagef("%s: the configuration %s names no replica", p.command, configPath)
		return nil, nil, repo.WithHint(err, "the option replica gives the path of a YAML file like this one, with the replica's repository and key_file")
	case c.Replica.Config != nil:
		replica = c.Replica.Config
		if replica.Namespace == "" {
			replica.Namespace = c.Namespace
		}
	default:
		where = c.Replica.Path
		if replica, err = LoadConfig(where); err != nil {
			return nil, nil, fmt.Errorf("replica: %w", err)
		}
	}
	if replica.CacheDir == "" {
		replica.CacheDir = c.CacheDir
	}
	// Variables name this repository and its key, not the replica's.
	if err := replica.Complete(func(string) string { return "" }); err != nil {
		return nil, nil, usagef("replica: read config %s: %w", where, err)
	}
	if replica.Namespace != c.Namespace {
		return nil, nil, usagef("%s: the replica's namespace is %s, and that of %s is %s: a copy keeps its namespace",
			where, replica.Namespace, configPath, c.Namespace)
	}
	return c, replica, nil
}

func (p *Process) openReplica(ctx context.Context, c *Config, operation string) (*session, error) {
	s, err := p.openWith(ctx, c, operation)
	if err == nil {
		return s, nil
	}
	hint := repo.Hint(err)
	if errors.Is(err, repo.ErrNotRepository) {
		hint = "make it first: gpdedup repo init --repo " + c.Repository + " --key-file FILE --copy-chunker-from LOCATION"
	}
	err = fmt.Errorf("replica: %w", err)
	if hint != "" {
		err = repo.WithHint(err, hint)
	}
	return nil, err
}
