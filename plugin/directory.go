package plugin

import (
	"bufio"
	"context"
	"fmt"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// DeleteBackup deletes a timestamp. One that is deleted already, or was never
// stored, is a success: those who delete try again.
func (p *Process) DeleteBackup(ctx context.Context, configPath, timestamp string) error {
	c, err := p.configure(configPath)
	if err != nil {
		return err
	}
	if !IsTimestamp(timestamp) {
		return usagef("%s: %q is not a timestamp of 14 digits", p.command, timestamp)
	}
	s, err := p.openWith(ctx, c, "gc")
	if err != nil {
		return err
	}
	defer s.Close()
	err = s.Delete(ctx, repo.Name{Class: repo.Backup, Namespace: c.Namespace, Group: timestamp})
	if err != nil {
		return err
	}
	s.log.Info("deleted", "timestamp", timestamp)
	p.countPrune(s.collect(ctx))
	return nil
}

// collectFor is how long deleting a backup collects garbage at most, so that it returns
// within a second however large the repository is.
const collectFor = 600 * time.Millisecond

// collect removes what is ripe and condemns what is of no use, as far as it gets. The
// backup is deleted whatever comes of it, so nothing that happens here is a failure.
func (s *session) collect(ctx context.Context) *repo.PruneReport {
	report, err := s.Prune(ctx, repo.PruneOptions{
		Grace: repo.DefaultGrace, MinAge: repo.DefaultMinAge, MaxUnused: -1, Deadline: time.Now().Add(collectFor),
	})
	switch {
	case err != nil:
		s.log.Warn("garbage was not collected", "error", err)
	case report.Unfinished:
		s.log.Info("garbage is left for gpdedup repo prune")
	default:
		s.log.Info("collected garbage", "removed_bytes", report.RemovedBytes, "condemned_bytes", report.CondemnedBytes)
	}
	return report
}

// DeleteDirectory deletes the timestamp that the last component of dir is.
func (p *Process) DeleteDirectory(ctx context.Context, configPath, dir string) error {
	ts, err := directoryTimestamp(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", p.command, err)
	}
	return p.DeleteBackup(ctx, configPath, ts)
}

// ListDirectory prints what is stored, a line for each: without a directory the
// timestamps of the namespace, with one the base names of the timestamp that its
// last component is. What is deleted is left out.
func (p *Process) ListDirectory(ctx context.Context, configPath, dir string) error {
	c, err := p.configure(configPath)
	if err != nil {
		return err
	}
	ts := ""
	if dir != "" {
		if ts, err = directoryTimestamp(dir); err != nil {
			return fmt.Errorf("%s: %w", p.command, err)
		}
	}
	s, err := p.openWith(ctx, c, "read")
	if err != nil {
		return err
	}
	defer s.Close()
	var lines []string
	if ts == "" {
		lines, err = s.timestamps(ctx)
	} else {
		lines, err = s.baseNames(ctx, ts)
	}
	if err != nil {
		return err
	}
	out := bufio.NewWriter(p.stdout)
	for _, line := range lines {
		_, _ = out.WriteString(line + "\n") // Flush tells
	}
	if err := out.Flush(); err != nil {
		return &repo.OutputError{Err: err}
	}
	return nil
}

// timestamps returns, sorted, those of the namespace that are not deleted.
func (s *session) timestamps(ctx context.Context) ([]string, error) {
	groups, err := s.Groups(ctx, repo.Backup, s.config.Namespace)
	if err != nil {
		return nil, err
	}
	deleted, err := s.DeletedGroups(ctx, repo.Backup, s.config.Namespace)
	if err != nil {
		return nil, err
	}
	var live []string
	for _, ts := range groups {
		if IsTimestamp(ts) && !deleted[ts] {
			live = append(live, ts)
		}
	}
	return live, nil
}

func (s *session) baseNames(ctx context.Context, ts string) ([]string, error) {
	group := repo.Name{Class: repo.Backup, Namespace: s.config.Namespace, Group: ts}
	deleted, err := s.Deleted(ctx, group)
	if err != nil || deleted {
		return nil, err
	}
	items, err := s.Items(ctx, repo.Backup, group.Namespace, ts)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, item := range items {
		if item.Complete() {
			names = append(names, item.Name.Item)
		}
	}
	return names, nil
}
