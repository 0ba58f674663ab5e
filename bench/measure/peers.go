//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// peer is another program that does much the same, if it is installed. It is fed through standard input, because a
// database's table is no file whose time of change says that it need not be read.
type peer struct {
	name     string
	settings string // for the report
	version  string
	env      func(dir string) []string
	prepare  []string
	backup   func(tag string) []string
	restore  func(tag string) []string

	check, checkData []string // of the repository; with every byte

	first, unchanged, next, restored sample
	share, nextShare                 sample
	failed                           error // it is left out from then on
}

// peerPatience bounds each command of a peer.
const peerPatience = 10 * time.Minute

func knownPeers() []*peer {
	return []*peer{
		{
			name: "restic", settings: "repository format 2, compression auto, backup --stdin",
			env: func(dir string) []string {
				return []string{"RESTIC_REPOSITORY=" + dir + "/repo", "RESTIC_PASSWORD=measure", "RESTIC_CACHE_DIR=" + dir + "/cache"}
			},
			prepare: []string{"restic", "-q", "init"},
			backup: func(tag string) []string {
				return []string{"restic", "-q", "backup", "--stdin", "--stdin-filename", "table", "--tag", tag}
			},
			restore: func(tag string) []string { return []string{"restic", "-q", "dump", "--tag", tag, "latest", "/table"} },
			check:   []string{"restic", "-q", "check"}, checkData: []string{"restic", "-q", "check", "--read-data"},
		},
		{
			name: "borg", settings: "repokey-blake2, compression zstd,1, create from standard input",
			env: func(dir string) []string {
				return []string{"BORG_REPO=" + dir + "/repo", "BORG_PASSPHRASE=measure", "BORG_BASE_DIR=" + dir}
			},
			prepare: []string{"borg", "init", "-e", "repokey-blake2"},
			backup: func(tag string) []string {
				return []string{"borg", "create", "--compression", "zstd,1", "--stdin-name", "table", "::" + tag, "-"}
			},
			restore: func(tag string) []string { return []string{"borg", "extract", "--stdout", "::" + tag} },
			check:   []string{"borg", "check"}, checkData: []string{"borg", "check", "--verify-data"},
		},
	}
}

// findPeers returns those that are installed; --peers installs them first.
func (b *bench) findPeers(ctx context.Context) (found []*peer, err error) {
	all := knownPeers()
	missing := slices.ContainsFunc(all, func(p *peer) bool { _, err := exec.LookPath(p.name); return err != nil })
	if b.set.peers && missing {
		progress("install restic and borgbackup")
		env := []string{"DEBIAN_FRONTEND=noninteractive"}
		if _, err := b.run(ctx, command{args: []string{"apt-get", "install", "-y", "restic", "borgbackup"}, env: env, quiet: true}); err != nil {
			return nil, err
		}
	}
	for _, p := range all {
		if _, err := exec.LookPath(p.name); err != nil {
			continue
		}
		version := "version"
		if p.name == "borg" {
			version = "--version"
		}
		var out strings.Builder
		if _, err := b.run(ctx, command{args: []string{p.name, version}, out: &out, quiet: true}); err != nil {
			return nil, err
		}
		words := strings.Fields(out.String())
		if len(words) < 2 {
			return nil, fmt.Errorf("ask %s for its version: %q", p.name, out.String())
		}
		p.version = words[1]
		found = append(found, p)
	}
	return found, nil
}

// askPeers has each peer do what gpdedup did in this round. One that fails says so in the report, and ends nothing.
func (k *track) askPeers(ctx context.Context) error {
	for _, p := range k.peers {
		if p.failed != nil {
			continue
		}
		progress("  %s", p.name)
		if p.failed = k.askPeer(ctx, p); p.failed != nil {
			progress("  %s is left out: %v", p.name, p.failed)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (k *track) askPeer(ctx context.Context, p *peer) error {
	dir, err := k.b.fresh(p.name)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env := p.env(dir)
	do := func(args []string, file string) (float64, error) {
		var in io.Reader
		if file != "" {
			f, err := os.Open(file)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			in = f
		}
		limited, cancel := context.WithTimeout(ctx, peerPatience)
		defer cancel()
		u, err := k.b.run(limited, command{args: args, env: env, in: in, quiet: true})
		return k.rate(u.wall), err
	}
	if _, err := do(p.prepare, ""); err != nil {
		return err
	}
	var speeds [4]float64
	var stored [2]int64
	for i, step := range []struct {
		args []string
		file string
	}{{p.backup("one"), k.day1}, {p.backup("same"), k.day1}, {p.restore("one"), ""}, {p.backup("two"), k.day2}} {
		if i == 3 {
			if stored[0], err = treeSize(filepath.Join(dir, "repo")); err != nil {
				return err
			}
		}
		if speeds[i], err = do(step.args, step.file); err != nil {
			return err
		}
	}
	if stored[1], err = treeSize(filepath.Join(dir, "repo")); err != nil {
		return err
	}
	p.first = append(p.first, speeds[0])
	p.unchanged = append(p.unchanged, speeds[1])
	p.restored = append(p.restored, speeds[2])
	p.next = append(p.next, speeds[3])
	p.share = append(p.share, float64(stored[0])/float64(len(k.text)))
	p.nextShare = append(p.nextShare, float64(stored[1]-stored[0])/float64(stored[0]))
	return nil
}

func (k *track) tellPeers() {
	for _, p := range k.peers {
		note := "The same table, in turn with gpdedup: " + p.settings + "; its defaults otherwise."
		if p.failed != nil && errors.Is(p.failed, context.DeadlineExceeded) {
			note += " It was given up after " + peerPatience.String() + "."
		} else if p.failed != nil {
			note += " It failed, and was left out from then on."
		}
		t := k.b.report.table("Beside "+p.name+" "+p.version, p.name, note)
		if len(p.first) == 0 {
			continue
		}
		t.compare("first backup", speed, k.first, p.first, nil)
		t.compare("unchanged second backup", speed, k.unchanged, p.unchanged, nil)
		t.compare("next day's backup", speed, k.next, p.next, nil)
		t.compare("restore to /dev/null", speed, k.null, p.restored, nil)
		t.compare("first day stored, share of the text", percent, k.storedShare, p.share, nil)
		t.compare("next day stored, share of the first", percent, k.nextShare, p.nextShare, nil)
	}
}
