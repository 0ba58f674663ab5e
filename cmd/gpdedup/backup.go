package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// BackupCmd is gpdedup backup.
type BackupCmd struct {
	List     BackupListCmd     `cmd:"" help:"List the backups, the newest first."`
	Show     BackupShowCmd     `cmd:"" help:"Show all there is to know about a backup."`
	Verify   BackupVerifyCmd   `cmd:"" help:"Read and check every byte of a backup, and that nothing is missing."`
	Delete   BackupDeleteCmd   `cmd:"" help:"Delete backups."`
	Undelete BackupUndeleteCmd `cmd:"" help:"Bring deleted backups back, as long as they are not gone."`
	Forget   BackupForgetCmd   `cmd:"" help:"Delete old backups by rules such as --keep-daily 7."`
	Get      BackupGetCmd      `cmd:"" help:"Write one stream of a backup to standard output or a file."`
	Export   BackupExportCmd   `cmd:"" help:"Write a backup to a directory that gprestore reads without the plugin."`
}

// checkTimestamps refuses what cannot be a timestamp. It is never read as a date.
func checkTimestamps(command string, timestamps ...string) error {
	for _, ts := range timestamps {
		if !backups.ValidTimestamp(ts) {
			return usageError(fmt.Sprintf("%s: %q is not a timestamp of 14 digits", command, ts), "gpdedup backup list")
		}
	}
	return nil
}

// noBackup says that nothing is stored under a timestamp.
func noBackup(timestamp, namespace string) error {
	return repo.WithHint(fmt.Errorf("%s: %w (namespace %s)", timestamp, repo.ErrNoStream, namespace),
		"'gpdedup backup list' shows what is there; --namespace chooses another cluster's")
}

// backupState returns which of the timestamps are deleted, and refuses any that
// are not there.
func backupState(ctx context.Context, r *repo.Repo, namespace string, timestamps []string) (deleted map[string]bool, err error) {
	if deleted, err = r.DeletedGroups(ctx, repo.Backup, namespace); err != nil {
		return nil, err
	}
	there, err := r.Groups(ctx, repo.Backup, namespace)
	if err != nil {
		return nil, err
	}
	for _, ts := range timestamps {
		if !slices.Contains(there, ts) && !deleted[ts] {
			return nil, noBackup(ts, namespace)
		}
	}
	return deleted, nil
}

// notWhole is a backup in which something is damaged or missing: exit code 4.
type notWhole struct{ text string }

func (n *notWhole) Error() string        { return n.text }
func (n *notWhole) Is(target error) bool { return target == repo.ErrDamaged }

// problemsError sums up what is wrong with a backup, or is nil.
func problemsError(command, timestamp string, problems []backups.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	kinds := make(map[backups.ProblemKind]int)
	for _, p := range problems {
		kinds[p.Kind]++
	}
	text := fmt.Sprintf("%s %s: ", command, timestamp)
	for _, k := range []struct {
		kind backups.ProblemKind
		noun string
	}{{backups.DamagedStream, "damaged stream"}, {backups.MissingStream, "missing stream"}} {
		if n := kinds[k.kind]; n > 0 {
			text += count(n, k.noun) + ", "
		}
	}
	if kinds[backups.BadStatus] > 0 {
		for _, p := range problems {
			if p.Kind == backups.BadStatus {
				text += p.String() + ", "
				break
			}
		}
	}
	return &notWhole{text[:len(text)-len(", ")]}
}
