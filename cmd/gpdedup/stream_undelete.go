package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/gpdedup/gpdedup/repo"
)

// StreamUndeleteCmd is gpdedup stream undelete.
type StreamUndeleteCmd struct {
	Versions []string `arg:"" name:"name@version" help:"The versions, as 'gpdedup stream list --deleted' shows them."`
}

// Help shows examples.
func (StreamUndeleteCmd) Help() string {
	return `Versions that were deleted or forgotten stay in the repository until a prune frees their
space, a day later: 'gpdedup stream list --deleted'. One that a prune has begun to remove
cannot be brought back.

Example:

	gpdedup stream undelete sales@20261121T213355.000000Z-0a1b
`
}

type streamUndeleteReport struct {
	Namespace  string   `json:"namespace"`
	Undeleted  []string `json:"undeleted"`
	NotDeleted []string `json:"not_deleted"`
}

// Run brings deleted versions back.
func (c *StreamUndeleteCmd) Run(g *Globals) error {
	var names []repo.Name
	for _, arg := range c.Versions {
		stream, version, err := splitVersion(arg)
		if err != nil {
			return err
		}
		if version == "" {
			return usageError(fmt.Sprintf("undelete stream: %s: no version is given", stream), "'gpdedup stream list --deleted' shows versions; give "+stream+"@VERSION")
		}
		names = append(names, repo.Name{Class: repo.Named, Namespace: g.Namespace, Group: stream, Item: version})
	}
	r, err := g.Open("gc")
	if err != nil {
		return err
	}
	defer r.Close()
	report := &streamUndeleteReport{Namespace: g.Namespace, Undeleted: []string{}, NotDeleted: []string{}}
	for _, name := range names {
		if err := r.Undelete(g.Context(), name); err != nil && !errors.Is(err, repo.ErrNotDeleted) {
			if errors.Is(err, repo.ErrTooLate) {
				err = repo.WithHint(err, "its space is being freed; it cannot be brought back")
			}
			return fmt.Errorf("undelete stream: %s@%s: %w", name.Group, name.Item, err)
		} else if err != nil {
			// It is there, or it never was.
			if _, err := r.Stream(g.Context(), name); errors.Is(err, repo.ErrNoStream) {
				return fmt.Errorf("undelete stream: %w", noStream(name.Group+"@"+name.Item, g.Namespace))
			} else if err != nil {
				return fmt.Errorf("undelete stream: %w", err)
			}
			report.NotDeleted = append(report.NotDeleted, name.Group+"@"+name.Item)
			continue
		}
		report.Undeleted = append(report.Undeleted, name.Group+"@"+name.Item)
	}
	return g.Print(report, func(w io.Writer) {
		for _, version := range report.Undeleted {
			say(w, "undeleted %s", version)
		}
		for _, version := range report.NotDeleted {
			say(w, "%s was not deleted", version)
		}
	})
}
