package main

import (
	"strings"

	"github.com/gpdedup/gpdedup/repo"
)

// otherNamespaces names those that have streams of the class: whoever finds none has often
// forgotten to say which cluster is meant.
func otherNamespaces(g *Globals, r *repo.Repo, class repo.Class) (string, error) {
	namespaces, err := r.Namespaces(g.Context(), class)
	if err != nil {
		return "", err
	}
	var names []string
	for _, namespace := range namespaces {
		n, err := countGroups(g.Context(), r, class, namespace)
		if err != nil {
			return "", err
		}
		if n > 0 && namespace != g.Namespace {
			names = append(names, oneLine(namespace))
		}
	}
	return thereAreSome(names), nil
}

// otherArchives names the namespaces that have WAL, for whoever found none.
func otherArchives(g *Globals, r *repo.Repo) (string, error) {
	archives, err := r.Storage().Children(g.Context(), "wal/")
	if err != nil {
		return "", err
	}
	var names []string
	for _, a := range archives {
		if name, err := repo.UnescapeName(a.Name); err == nil && name != g.Namespace {
			names = append(names, oneLine(name))
		}
	}
	return thereAreSome(names), nil
}

func thereAreSome(namespaces []string) string {
	if len(namespaces) == 0 {
		return ""
	}
	return "; there are some in " + strings.Join(namespaces, ", ")
}
