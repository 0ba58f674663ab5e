package main

import (
	"io"
	"runtime"

	"github.com/gpdedup/gpdedup/repo/seal"
)

// VersionCmd is gpdedup version.
type VersionCmd struct{}

// Help shows an example.
func (VersionCmd) Help() string { return "Example:\n\n\tgpdedup version\n" }

type versionReport struct {
	Version       string `json:"version"`
	FormatVersion int    `json:"format_version"`
	Go            string `json:"go"`
	Platform      string `json:"platform"`
}

// Run prints the version.
func (VersionCmd) Run(g *Globals) error {
	v := versionReport{version, seal.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	return g.Print(v, func(w io.Writer) {
		say(w, "gpdedup %s (format %d, %s, %s)", v.Version, v.FormatVersion, v.Go, v.Platform)
	})
}
