// Command days measures what a table costs that is backed up in full every day while
// a little of it changes all over: bytes stored and time, day by day, by gpdedup's
// plugin commands, and beside it by restic and borg where they are installed.
//
//	go run ./bench/days --gpdedup ./gpdedup --update docs/performance.md
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

func main() {
	gpdedup := flag.String("gpdedup", "./gpdedup", "the program to measure")
	rows := flag.Int("rows", 1_500_000, "rows of the table on the first day, about 157 bytes each")
	days := flag.Int("days", 30, "days to simulate; restic and borg see the first five")
	dir := flag.String("dir", "", "where to work; default: a temporary directory")
	update := flag.String("update", "", "the document whose section between the days markers is replaced")
	flag.Parse()
	if err := run(*gpdedup, *rows, *days, *dir, *update); err != nil {
		fmt.Fprintln(os.Stderr, "days:", err)
		os.Exit(1)
	}
}

// peerDays is how many days the other programs are given.
const peerDays = 5

func run(gpdedup string, rows, days int, parent, document string) error {
	gpdedup, err := filepath.Abs(gpdedup)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "gpdedup-days-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w := &world{gpdedup: gpdedup, dir: dir}
	var contenders []*contender
	for _, name := range []string{"plain", "gzip"} {
		c, err := w.plugin(name)
		if err != nil {
			return err
		}
		contenders = append(contenders, c)
	}
	contenders = append(contenders, w.peers()...)
	grown, err := w.plugin("append-only")
	if err != nil {
		return err
	}
	heap, events := tablegen.New(tablegen.Heap, 1, rows), tablegen.New(tablegen.AppendOnly, 2, rows/2)
	for day := range days {
		if err := w.write("heap", heap); err != nil {
			return err
		}
		for _, c := range contenders {
			if c.most > 0 && day >= c.most {
				continue
			}
			if err := c.backup(day, filepath.Join(dir, "heap")); err != nil {
				return fmt.Errorf("%s, day %d: %w", c.name, day+1, err)
			}
		}
		if day < peerDays {
			if err := w.write("events", events); err != nil {
				return err
			}
			if err := grown.backup(day, filepath.Join(dir, "events")); err != nil {
				return fmt.Errorf("append-only, day %d: %w", day+1, err)
			}
			events.NextDay(tablegen.Daily(tablegen.AppendOnly))
		}
		heap.NextDay(tablegen.Daily(tablegen.Heap))
		fmt.Fprintf(os.Stderr, "day %d of %d\n", day+1, days)
	}
	restores, err := w.restores(days)
	if err != nil {
		return err
	}
	return publish(document, report(contenders, grown, restores, days))
}

type world struct{ gpdedup, dir string }

func (w *world) write(name string, t *tablegen.Table) error {
	f, err := os.Create(filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	_, err = t.WriteTo(f)
	return errors.Join(err, f.Close())
}

// contender is one way to keep the days.
type contender struct {
	name   string
	most   int // days that it takes part; 0: all
	repo   string
	store  func(day int, file string) *exec.Cmd
	stored []int64 // bytes that the repository grew by, by day
	took   []time.Duration
}

func (c *contender) backup(day int, file string) error {
	before := treeSize(c.repo)
	cmd := c.store(day, file)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	c.took = append(c.took, time.Since(start))
	c.stored = append(c.stored, treeSize(c.repo)-before)
	return nil
}

func treeSize(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// plugin is gpdedup as gpbackup calls it, with a repository of its own.
func (w *world) plugin(name string) (*contender, error) {
	repo, key, config := filepath.Join(w.dir, name), filepath.Join(w.dir, name+".key"), w.config(name)
	if out, err := exec.Command(w.gpdedup, "repo", "init", "--repo", repo, "--key-file", key).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("init: %w: %s", err, out)
	}
	text := fmt.Sprintf("executablepath: %s\noptions:\n  repository: %s\n  key_file: %s\n  cache_dir: %s\n",
		w.gpdedup, repo, key, filepath.Join(w.dir, name+".cache"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return &contender{name: name, repo: repo, store: func(day int, file string) *exec.Cmd {
		// The hook comes first, as gpbackup has it; it is not waited for.
		command := `"$0" setup_plugin_for_backup "$1" "$2" segment_host && "$0" backup_data "$1" "$3" <"$4"`
		if name == "gzip" {
			command = `"$0" setup_plugin_for_backup "$1" "$2" segment_host && gzip -c -1 <"$4" | "$0" backup_data "$1" "$3"`
		}
		return exec.Command("sh", "-c", command, w.gpdedup, config, "/data/gpseg0/backups/"+timestamp(day)[:8]+"/"+timestamp(day),
			path(name, day), file)
	}}, nil
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

// restores times the restore of the first day and of the last by turns, of the plain
// repository, and the best of each counts.
func (w *world) restores(days int) ([2]time.Duration, error) {
	var best [2]time.Duration
	for range 5 {
		for i, day := range []int{0, days - 1} {
			start := time.Now()
			cmd := exec.Command(w.gpdedup, "restore_data", w.config("plain"), path("plain", day))
			cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
			if err := cmd.Run(); err != nil {
				return best, fmt.Errorf("restore day %d: %w", day+1, err)
			}
			if took := time.Since(start); best[i] == 0 || took < best[i] {
				best[i] = took
			}
		}
	}
	return best, nil
}

// peers are the other programs that are installed.
func (w *world) peers() (out []*contender) {
	if _, err := exec.LookPath("restic"); err == nil {
		repo := filepath.Join(w.dir, "restic")
		env := append(os.Environ(), "RESTIC_REPOSITORY="+repo, "RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR="+repo+".cache")
		init := exec.Command("restic", "init")
		init.Env = env
		if init.Run() == nil {
			out = append(out, &contender{name: "restic", most: peerDays, repo: repo, store: func(_ int, file string) *exec.Cmd {
				cmd := exec.Command("sh", "-c", `restic -q backup --stdin --stdin-filename table <"$0"`, file)
				cmd.Env = env
				return cmd
			}})
		}
	}
	if _, err := exec.LookPath("borg"); err == nil {
		repo := filepath.Join(w.dir, "borg")
		env := append(os.Environ(), "BORG_REPO="+repo, "BORG_PASSPHRASE=x", "BORG_BASE_DIR="+repo+".base")
		init := exec.Command("borg", "init", "-e", "repokey-blake2")
		init.Env = env
		if init.Run() == nil {
			out = append(out, &contender{name: "borg", most: peerDays, repo: repo, store: func(day int, file string) *exec.Cmd {
				cmd := exec.Command("sh", "-c", `borg create -C zstd,1 "::$0" - <"$1"`, timestamp(day), file)
				cmd.Env = env
				return cmd
			}})
		}
	}
	return out
}

const (
	beginMark = "<!-- days:begin -->"
	endMark   = "<!-- days:end -->"
)

// publish replaces the section of the document, or prints it if there is none.
func publish(document, section string) error {
	if document == "" {
		fmt.Print(section)
		return nil
	}
	data, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(data), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no section between %s and %s", document, beginMark, endMark)
	}
	return os.WriteFile(document, []byte(before+beginMark+"\n\n"+section+"\n"+endMark+after), 0o644)
}
