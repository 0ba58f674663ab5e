package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	peer "github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// contender is one way to keep the days.
type contender struct {
	name    string
	most    int // days that it takes part; 0: all
	size    func() (int64, error)
	store   func(day int, file string) error
	restore func(day int) *exec.Cmd // prints the day's table; nil: this one is not compared
	stored  []int64                 // bytes that the repository grew by, by day
	took    []time.Duration

	changed, deltas []int64 // chunks that were new, and of these stored as deltas, by day
}

func (c *contender) backup(day int, file string) error {
	before, err := c.size()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := c.store(day, file); err != nil {
		return err
	}
	c.took = append(c.took, time.Since(start))
	after, err := c.size()
	c.stored = append(c.stored, after-before)
	return err
}

// contenders are gpdedup, without and with gpbackup's compression, and the peers.
func (w *world) contenders() ([]*contender, error) {
	plain, err := w.plugin("plain")
	if err != nil {
		return nil, err
	}
	gzip, err := w.plugin("gzip")
	if err != nil {
		return nil, err
	}
	peers, err := w.peers("table")
	return append([]*contender{plain, gzip}, peers...), err
}

// plugin is gpdedup as gpbackup calls it, with a repository of its own.
func (w *world) plugin(name string) (*contender, error) {
	repo, err := w.initRepo(name)
	if err != nil {
		return nil, err
	}
	backup, restore := `"$0" backup_data "$1" "$3" <"$4"`, `"$0" restore_data "$1" "$2"`
	if name == "gzip" {
		backup, restore = `gzip -c -1 <"$4" | "$0" backup_data "$1" "$3"`, `"$0" restore_data "$1" "$2" | gzip -dc`
	}
	config := w.config(name)
	return &contender{
		name: name, size: func() (int64, error) { return size.Of(repo) },
		store: func(day int, file string) error {
			// The hook comes first, as gpbackup has it; it is not waited for.
			cmd := exec.Command("sh", "-c", `"$0" setup_plugin_for_backup "$1" "$2" segment_host && `+backup, w.gpdedup, config,
				"/data/gpseg0/backups/"+timestamp(day)[:8]+"/"+timestamp(day), path(name, day), file)
			cmd.Env = w.place.Env
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
		restore: func(day int) *exec.Cmd { return exec.Command("sh", "-c", restore, w.gpdedup, config, path(name, day)) },
	}, nil
}

// initRepo makes a repository and the YAML file of its name.
func (w *world) initRepo(name string) (repo string, err error) {
	repo, key := filepath.Join(w.dir, name), filepath.Join(w.dir, name+".key")
	if out, err := exec.Command(w.gpdedup, "repo", "init", "--repo", repo, "--key-file", key).CombinedOutput(); err != nil {
		return "", fmt.Errorf("init: %w: %s", err, out)
	}
	text := fmt.Sprintf("executablepath: %s\noptions:\n  repository: %s\n  key_file: %s\n  cache_dir: %s\n",
		w.gpdedup, repo, key, filepath.Join(w.dir, name+".cache"))
	return repo, os.WriteFile(w.config(name), []byte(text), 0o600)
}

func (w *world) config(name string) string { return filepath.Join(w.dir, name+".yaml") }

func timestamp(day int) string { return fmt.Sprintf("202611%02d000000", day+1) }

func path(name string, day int) string {
	p := "/data/gpseg0/backups/" + timestamp(day)[:8] + "/" + timestamp(day) + "/gpbackup_0_" + timestamp(day) + "_16384"
	if name == "gzip" {
		p += ".gz"
	}
	return p
}

// peers are the other programs that are installed, with repositories of their own for
// what is named.
func (w *world) peers(what string) (out []*contender, err error) {
	if w.alone {
		return nil, nil
	}
	programs, missing, err := peer.Find(w.gpdedup, peer.Names())
	if err != nil {
		return nil, err
	}
	for _, m := range missing {
		fmt.Fprintln(os.Stderr, m)
	}
	for _, p := range programs[1:] {
		s, err := p.Open(w.ctx, w.place)
		if err != nil {
			return nil, fmt.Errorf("%s, for the %s: %w", p.Name, what, err)
		}
		out = append(out, &contender{
			name: p.Name, most: peerDays, size: s.Size,
			store: func(day int, file string) error {
				_, err := s.Put(w.ctx, timestamp(day), peer.Input{File: file})
				return err
			},
		})
	}
	return out, nil
}
