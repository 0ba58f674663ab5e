package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// contender is one way to keep the days.
type contender struct {
	name    string
	most    int // days that it takes part; 0: all
	repo    string
	store   func(day int, file string) *exec.Cmd
	restore func(day int) *exec.Cmd // prints the day's table; nil: this one is not compared
	stored  []int64                 // bytes that the repository grew by, by day
	took    []time.Duration

	changed, deltas []int64 // chunks that were new, and of these stored as deltas, by day
}

func (c *contender) backup(day int, file string) error {
	before, err := size.Of(c.repo)
	if err != nil {
		return err
	}
	cmd := c.store(day, file)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	c.took = append(c.took, time.Since(start))
	after, err := size.Of(c.repo)
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
	return append([]*contender{plain, gzip}, w.peers("table")...), nil
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
		name: name, repo: repo,
		store: func(day int, file string) *exec.Cmd {
			// The hook comes first, as gpbackup has it; it is not waited for.
			return exec.Command("sh", "-c", `"$0" setup_plugin_for_backup "$1" "$2" segment_host && `+backup, w.gpdedup, config,
				"/data/gpseg0/backups/"+timestamp(day)[:8]+"/"+timestamp(day), path(name, day), file)
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
func (w *world) peers(what string) (out []*contender) {
	if w.alone {
		return nil
	}
	for _, p := range []struct {
		name       string
		env        []string
		init, args []string
	}{
		{
			"restic",
			[]string{"RESTIC_REPOSITORY=" + w.dir + "/restic-" + what, "RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR=" + w.dir + "/restic.cache"},
			[]string{"restic", "init"},
			[]string{"sh", "-c", `restic -q backup --stdin --stdin-filename table <"$1"`},
		},
		{
			"borg",
			[]string{"BORG_REPO=" + w.dir + "/borg-" + what, "BORG_PASSPHRASE=x", "BORG_BASE_DIR=" + w.dir + "/borg.base"},
			[]string{"borg", "init", "-e", "repokey-blake2"},
			[]string{"sh", "-c", `borg create -C zstd,1 "::$0" - <"$1"`},
		},
	} {
		if _, err := exec.LookPath(p.name); err != nil {
			fmt.Fprintf(os.Stderr, "%s is not installed, and left out\n", p.name)
			continue
		}
		env := append(os.Environ(), p.env...)
		init := exec.Command(p.init[0], p.init[1:]...)
		init.Env = env
		if text, err := init.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s is left out: %v: %s\n", p.name, err, text)
			continue
		}
		out = append(out, &contender{
			name: p.name, most: peerDays, repo: filepath.Join(w.dir, p.name+"-"+what),
			store: func(day int, file string) *exec.Cmd {
				cmd := exec.Command(p.args[0], append(p.args[1:], timestamp(day), file)...)
				cmd.Env = env
				return cmd
			},
		})
	}
	return out
}
