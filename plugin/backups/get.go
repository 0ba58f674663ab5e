package backups

import (
	"context"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/repo"
)

// Get writes one stream of a backup to w, as gpbackup stored it: what was
// compressed then is compressed again.
func Get(ctx context.Context, r *repo.Repo, namespace, timestamp, name string, w io.Writer) error {
	m, err := r.Stream(ctx, streamName(namespace, timestamp, name))
	if err != nil {
		return fmt.Errorf("get stream: %w", err)
	}
	if err := r.RestoreManifest(ctx, m, w, repo.RestoreOptions{Compress: true}); err != nil {
		return fmt.Errorf("get stream: %s/%s: %w", timestamp, name, err)
	}
	return nil
}

func streamName(namespace, timestamp, name string) repo.Name {
	return repo.Name{Class: repo.Backup, Namespace: namespace, Group: timestamp, Item: name}
}
