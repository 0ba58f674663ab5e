package main

import (
	"crypto/md5" //nolint:gosec // what dpkg --verify compares; it is no protection
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	homepage   = "https://github.com/gpdedup/gpdedup"
	maintainer = "The gpdedup authors <gpdedup@users.noreply.github.com>"
	summary    = "deduplicating backup repository for databases"
)

// about is the longer description, a paragraph.
func about() []string {
	return []string{
		"A content-addressed, encrypted repository that full backups cost only",
		"what changed in. It is gpbackup's storage plugin for Greenplum and",
		"Cloudberry, PostgreSQL's archive_command and restore_command, takes base",
		"backups, and stores any other stream, in directories and S3 buckets.",
	}
}

// deb writes gpdedup_VERSION_ARCH.deb.
func (r *release) deb(arch string, files []file) error {
	version := packageVersion(r.version)
	files = slices.Clone(files)
	for i := range files { // where Debian's zsh looks
		files[i].path = strings.Replace(files[i].path, "zsh/site-functions", "zsh/vendor-completions", 1)
		if files[i].path == docDir+"/LICENSE" {
			files[i].path, files[i].content = docDir+"/copyright", copyright()
		}
	}
	add := func(path, content string) {
		files = append(files, file{path: path, mode: 0o644, content: []byte(content)})
	}
	changes := fmt.Sprintf("gpdedup (%s) unstable; urgency=medium\n\n  * Version %s: %s/releases\n\n -- %s  %s\n",
		version, r.version, homepage, maintainer, r.time.Format(time.RFC1123Z))
	add(docDir+"/changelog.gz", string(compressed([]byte(changes))))
	add("usr/share/lintian/overrides/gpdedup", "# A Go program: it runs wherever the kernel does.\ngpdedup: statically-linked-binary [usr/bin/gpdedup]\n")
	size := 0
	for _, f := range files {
		size += (len(f.content) + 1023) / 1024
	}
	control := fmt.Sprintf("Package: gpdedup\nVersion: %s\nArchitecture: %s\nMaintainer: %s\nInstalled-Size: %d\nSection: database\nPriority: optional\nHomepage: %s\nDescription: %s\n %s\n",
		version, arch, maintainer, size, homepage, summary, strings.Join(about(), "\n "))
	var sums strings.Builder
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	for _, f := range files {
		fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(f.content), f.path) //nolint:gosec // see above
	}
	add("DEBIAN/control", control)
	add("DEBIAN/md5sums", sums.String())
	stage := filepath.Join(r.scratch, "deb-"+arch)
	if err := r.stage(stage, files); err != nil {
		return err
	}
	cmd := exec.Command("dpkg-deb", "--root-owner-group", "-Zxz", "--build", stage,
		filepath.Join(r.out, fmt.Sprintf("gpdedup_%s_%s.deb", version, arch)))
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()))
	return run(cmd)
}

// copyright is Debian's form of it.
func copyright() []byte {
	return []byte(`Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: gpdedup
Source: ` + homepage + `

Files: *
Copyright: 2026 The gpdedup authors
License: Apache-2.0
 On Debian systems, the full text of the Apache License, Version 2.0, can be
 found in /usr/share/common-licenses/Apache-2.0. The licences of the modules
 that are linked in are in THIRD_PARTY_LICENSES beside this file.
`)
}
