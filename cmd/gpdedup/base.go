package main

import (
	"context"
	"errors"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/base"
)

// BaseCmd is gpdedup base.
type BaseCmd struct {
	Cluster string `name:"cluster" placeholder:"NAME" help:"The same as --namespace."`
	Content string `name:"content" placeholder:"N" help:"Greenplum's content id; leave it out elsewhere."`

	Push     BasePushCmd     `cmd:"" help:"Take a base backup of a running server."`
	Restore  BaseRestoreCmd  `cmd:"" help:"Make a data directory of a base backup, to recover to any point in time."`
	List     BaseListCmd     `cmd:"" help:"List base backups, and how far each can be recovered."`
	Verify   BaseVerifyCmd   `cmd:"" help:"Read and check every byte of a base backup, and its WAL."`
	Delete   BaseDeleteCmd   `cmd:"" help:"Delete base backups; undelete brings them back until a prune."`
	Undelete BaseUndeleteCmd `cmd:"" help:"Bring a deleted base backup back."`
	Forget   BaseForgetCmd   `cmd:"" help:"Delete old base backups, and WAL that no recovery needs, by a policy."`
}

func (c *BaseCmd) settle(g *Globals) error {
	if c.Content == "" {
		c.Content = wal.DefaultContent
	}
	return settleCluster(g, "base", c.Cluster)
}

// open opens the repository and the archive of the cluster's WAL.
func (c *BaseCmd) open(g *Globals, operation string) (*repo.Repo, *wal.Archive, error) {
	r, err := g.Open(operation)
	if err != nil {
		return nil, nil, err
	}
	a, err := wal.Open(r, g.Namespace, c.Content)
	if err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return r, a, nil
}

// backup returns the base backup of the label, or the newest for "latest".
func (c *BaseCmd) backup(ctx context.Context, r *repo.Repo, a *wal.Archive, label string) (*base.Backup, error) {
	if label == "" || label == newest {
		return base.Newest(ctx, r, a)
	}
	return base.Open(ctx, r, a, label)
}

// newest names the newest base backup.
const newest = "latest"
