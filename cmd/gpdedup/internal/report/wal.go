package report

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/base"
)

// archives looks at the WAL archives, and how far the base backups can be recovered.
func (c *collector) archives(ctx context.Context) error {
	c.out.Bases = []base.Row{}
	archives := make(map[[2]string]bool)
	for _, d := range c.census.WAL {
		archives[[2]string{d.Namespace, d.Content}] = true
	}
	for i := range c.out.Backups {
		if b := &c.out.Backups[i]; b.Class == repo.Base {
			content, _, _ := cutName(b.Name)
			archives[[2]string{b.Namespace, content}] = true
		}
	}
	keys := make([][2]string, 0, len(archives))
	for key := range archives {
		if c.o.Namespace == "" || key[0] == c.o.Namespace {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for i, key := range keys {
		c.o.Progress("reading WAL archives", int64(i), int64(len(keys)))
		if err := c.archive(ctx, key[0], key[1]); err != nil {
			return err
		}
	}
	return nil
}

func cutName(name string) (group, item string, ok bool) {
	for i := range len(name) {
		if name[i] == '/' {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

func (c *collector) archive(ctx context.Context, namespace, content string) error {
	a, err := wal.Open(c.r, namespace, content)
	if errors.Is(err, repo.ErrUsage) {
		return nil // a folder that is none of gpdedup's
	}
	if err != nil {
		return err
	}
	out := Archive{Namespace: namespace, Content: content, Days: []ArchiveDay{}}
	for _, d := range c.census.WAL {
		if d.Namespace == namespace && d.Content == content {
			out.Days = append(out.Days, ArchiveDay{Date: dateOf(d.Day).Format(time.DateOnly), Files: d.Files, Bytes: d.Bytes, day: d.Day})
		}
	}
	survey, err := a.Survey(ctx)
	switch {
	case errors.Is(err, repo.ErrDamaged), errors.Is(err, repo.ErrNewer):
		out.Problem = err.Error()
	case err != nil:
		return err
	}
	if survey == nil {
		survey = &wal.Survey{Namespace: namespace, Content: content}
	}
	for i := range survey.Epochs {
		e := &survey.Epochs[i]
		out.Segments += e.Segments
		out.Stored += e.Stored
		for j := range e.Timelines {
			out.Gaps += len(e.Timelines[j].Gaps)
		}
	}
	if len(out.Days) > 0 {
		c.out.Archives = append(c.out.Archives, out)
	}
	list, err := base.List(ctx, c.r, a, false)
	if err != nil {
		return err
	}
	rows, err := base.RowsOf(ctx, a, survey, list)
	if err != nil {
		return err
	}
	c.out.Bases = append(c.out.Bases, rows...)
	return nil
}
