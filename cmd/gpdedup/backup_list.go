package main

import (
	"fmt"
	"io"
	"time"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
)

// BackupListCmd is gpdedup backup list.
type BackupListCmd struct {
	AllNamespaces bool `name:"all-namespaces" help:"The backups of every cluster, not only of --namespace."`
	Deleted       bool `help:"Show deleted backups too, until they are gone."`
	Limit         int  `placeholder:"N" help:"Only the newest N of each namespace."`
	Sizes         bool `default:"true" negatable:"" help:"Show sizes, for which the manifest of every stream is read."`
}

// Help shows examples.
func (BackupListCmd) Help() string {
	return `STATUS is complete, failed (gpbackup said so), incomplete (still running, stopped, or
streams are missing), broken chain (an incremental backup that has lost what it builds
on), damaged, or deleted. SIZE is what gpbackup sent, NEW what the repository grew by.

Examples:

	gpdedup backup list
	gpdedup backup list --limit 10 --no-sizes
	gpdedup backup list --all-namespaces --deleted --json
`
}

// Run lists backups.
func (c *BackupListCmd) Run(g *Globals) error {
	if c.Limit < 0 {
		return usageError("list backups: --limit is less than 0", "")
	}
	r, err := g.Open("read")
	if err != nil {
		return err
	}
	defer r.Close()
	namespaces := []string{g.Namespace}
	if c.AllNamespaces {
		if namespaces, err = r.Namespaces(g.Context(), repo.Backup); err != nil {
			return fmt.Errorf("list backups: %w", err)
		}
	}
	list := []backups.Summary{} // an empty list is [] in JSON
	for _, namespace := range namespaces {
		update, done := g.lateProgress("reading backups of "+namespace, countOnly)
		found, err := backups.List(g.Context(), r, namespace, backups.ListOptions{
			Limit: c.Limit, Deleted: c.Deleted, Sizes: c.Sizes,
			Progress: func(n, total int) { update(int64(n), int64(total)) },
		})
		done()
		if err != nil {
			return err
		}
		list = append(list, found...)
	}
	others := ""
	if len(list) == 0 && !c.AllNamespaces {
		if others, err = otherNamespaces(g, r, repo.Backup); err != nil {
			return fmt.Errorf("list backups: %w", err)
		}
	}
	return g.Print(list, func(w io.Writer) {
		if len(list) == 0 && !c.AllNamespaces {
			_, _ = fmt.Fprintf(w, "no backups in namespace %s%s\n", oneLine(g.Namespace), others)
			return
		}
		c.print(w, list)
	})
}

func (c *BackupListCmd) print(w io.Writer, list []backups.Summary) {
	if len(list) == 0 {
		_, _ = fmt.Fprintln(w, "no backups")
		return
	}
	t := newTable(w)
	defer t.Flush() //nolint:errcheck // w is a buffer
	if c.AllNamespaces {
		_, _ = fmt.Fprint(t, "NAMESPACE\t")
	}
	_, _ = fmt.Fprintln(t, "TIMESTAMP\tDATABASE\tTYPE\tSTATUS\tTABLES\tSTREAMS\tSIZE\tNEW\tDURATION")
	for i := range list {
		s := &list[i]
		if c.AllNamespaces {
			_, _ = fmt.Fprint(t, oneLine(s.Namespace)+"\t")
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", s.Timestamp, orDash(s.Database), orDash(backupType(s)), s.Status,
			s.Tables, s.Streams, bytesOrDash(s.Bytes), bytesOrDash(s.NewBytes), s.Duration().Round(time.Second))
	}
}

// backupType is full or incremental, and whether it is about one half only.
func backupType(s *backups.Summary) string {
	switch {
	case s.MetadataOnly:
		return s.Type + ", metadata"
	case s.DataOnly:
		return s.Type + ", data"
	}
	return s.Type
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}

func bytesOrDash(n *uint64) string {
	if n == nil {
		return "-"
	}
	return formatBytes(*n)
}
