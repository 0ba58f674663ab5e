package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/internal/sample"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// pusher is an archive_command, and the place that it fills.
type pusher struct {
	name    string
	command string       // with %p and %f
	fresh   func() error // empties the place
	stored  string       // directory whose size counts
	backlog bool         // what it does better with a backlog is measured too
}

// pushers returns what is compared.
func (w *world) pushers() ([]pusher, error) {
	plain := filepath.Join(w.dir, "pushed")
	empty := func(dirs ...string) func() error {
		return func() error {
			for _, dir := range dirs {
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
				if err := w.folder(dir); err != nil {
					return err
				}
			}
			return nil
		}
	}
	all := []pusher{
		{name: "cp", command: "cp %p " + plain + "/%f", fresh: empty(plain), stored: plain},
		{name: "cp and fsync", command: "cp %p " + plain + "/%f && sync " + plain + "/%f " + plain, fresh: empty(plain), stored: plain},
		w.pushOurs(true), w.pushOurs(false),
	}
	rest, err := w.pushRest(empty)
	return append(all, rest...), err
}

func (w *world) pushOurs(encrypted bool) pusher {
	dir := filepath.Join(w.dir, "pushrepo")
	secret := []string{"--key-file", dir + ".key"}
	create := secret
	if !encrypted {
		secret, create = nil, []string{"--no-encryption"}
	}
	return pusher{
		name:    encryptedName("gpdedup", encrypted),
		command: strings.Join(append([]string{w.exe, "wal push --cluster main --repo", dir, "--cache-dir", dir + ".cache"}, append(secret, "%p")...), " "),
		fresh: func() error {
			for _, d := range []string{dir, dir + ".key", dir + ".cache"} {
				if err := os.RemoveAll(d); err != nil {
					return err
				}
			}
			_, err := w.Run(w.exe, append([]string{"repo", "init", "--repo", dir}, create...)...)
			return err
		},
		stored: dir + "/wal", backlog: true,
	}
}

// pushRest returns ways to push with pgBackRest: with each level of zstd, and that encrypted,
// which ours is by default.
func (w *world) pushRest(empty func(...string) func() error) ([]pusher, error) {
	var all []pusher
	for i := range 2 * len(w.set.levels) {
		level, encrypted := w.set.levels[i%len(w.set.levels)], i >= len(w.set.levels)
		command, err := w.rest(encrypted)
		if command == "" || err != nil {
			return nil, err
		}
		made := w.restDir(encrypted)
		dir := made + "-push"
		// A stanza without WAL, to begin with each time.
		if out, err := w.Run("sh", "-c", "rm -rf "+dir+".new && cp -a "+made+" "+dir+".new && rm -rf "+dir+".new/repo/archive/main/*-1/* && mkdir -p "+dir); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		command = strings.ReplaceAll(command, made+"/", dir+"/")
		flags := fmt.Sprintf(" --compress-level=%s --repo1-path=%s/repo --log-path=%[2]s/log --lock-path=%[2]s/lock", level, dir)
		for _, mode := range []struct {
			name, flag string
			backlog    bool
		}{{"", " --no-archive-async", false}, {", asynchronous, 2 processes", " --archive-async --spool-path=" + dir + "/spool", true}} {
			all = append(all, pusher{
				name:    encryptedName("pgBackRest, zst "+level+mode.name, encrypted),
				command: command + flags + mode.flag + " archive-push %p",
				fresh: func() error {
					if err := empty(dir)(); err != nil {
						return err
					}
					_, err := w.Run("sh", "-c", "cp -a "+dir+".new/. "+dir)
					return err
				},
				stored: dir + "/repo/archive", backlog: mode.backlog,
			})
		}
	}
	return all, nil
}

// asynchronous reports whether the work is done in a process that nobody waits for.
func (p *pusher) asynchronous() bool { return strings.Contains(p.name, "asynchronous") }

// single returns how many segments are pushed one by one.
func (w *world) single(p *pusher) int {
	if p.asynchronous() { // each call waits for a process that it starts
		return min(8, w.set.single, len(w.files))
	}
	return min(w.set.single, len(w.files))
}

// measurePush measures segments pushed a second, as an archiver does it: one by one
// as they come, and from a backlog; what they take; and what an idle call costs.
func measurePush(w *world) (string, error) {
	pushers, err := w.pushers()
	if err != nil {
		return "", err
	}
	if err := w.linkWAL(); err != nil {
		return "", err
	}
	for range w.rounds {
		for i := range pushers {
			p := &pushers[i]
			files := w.files[:w.single(p)]
			took, err := w.pushAll(p, files, false)
			if err != nil {
				return "", err
			}
			w.note(p.name, oneByOne, len(files), took)
			all := w.found.Run(p.name, fromBacklog)
			if !p.backlog && len(all.Stored) > 0 {
				continue
			}
			if took, err = w.pushAll(p, w.files, true); err != nil {
				return "", err
			}
			if p.backlog {
				w.note(p.name, fromBacklog, len(w.files), took)
			}
			stored, err := size.Of(p.stored)
			if err != nil {
				return "", err
			}
			all.Stored = append(all.Stored, float64(stored))
		}
	}
	starts, err := w.starts(pushers)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| `archive_command` | segments/s, one by one | processor time of each, ms | from a backlog of %d | stored, of %.1f GB |\n|---|---:|---:|---:|---:|\n",
		len(w.files), float64(len(w.files)*(16<<20))/1e9)
	for _, p := range pushers {
		many := "as one by one"
		if p.backlog {
			many = w.rate(p.name, fromBacklog)
		}
		time := w.each(p.name, oneByOne)
		if p.asynchronous() {
			time = "–"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.1f MB |\n", p.name, w.rate(p.name, oneByOne), time, many, results.Stored(w.found.Find(p.name, fromBacklog)).Median())
	}
	return b.String() + "\n" + starts, nil
}

// linkWAL puts the segments where their server had them.
func (w *world) linkWAL() error {
	dir := filepath.Join(w.primary.Data, "pg_wal")
	for _, f := range w.files {
		path := filepath.Join(dir, f)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Link(filepath.Join(w.plain, f), path); err != nil {
			return err
		}
	}
	return nil
}

// pushAll is the archiver: it calls the command for one file after the other. With a
// backlog all are marked as ready from the beginning, else each when its turn comes.
func (w *world) pushAll(p *pusher, files []string, backlog bool) (time.Duration, error) {
	if err := p.fresh(); err != nil {
		return 0, err
	}
	status := filepath.Join(w.primary.Data, "pg_wal", "archive_status")
	if err := os.RemoveAll(status); err != nil {
		return 0, err
	}
	if err := w.folder(status); err != nil {
		return 0, err
	}
	ready := func(f string) error { return os.WriteFile(filepath.Join(status, f+".ready"), nil, 0o644) }
	if backlog {
		for _, f := range files {
			if err := ready(f); err != nil {
				return 0, err
			}
		}
	}
	w.used = 0
	begin := time.Now()
	for _, f := range files {
		if !backlog {
			if err := ready(f); err != nil {
				return 0, err
			}
		}
		if err := w.call(p, f); err != nil {
			return 0, err
		}
		if err := os.Rename(filepath.Join(status, f+".ready"), filepath.Join(status, f+".done")); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

func (w *world) call(p *pusher, file string) error {
	cmd := w.Command("sh", "-c", strings.NewReplacer("%p", "pg_wal/"+file, "%f", file).Replace(p.command))
	cmd.Dir = w.primary.Data
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s: %w: %s", p.name, file, err, out)
	}
	w.used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return nil
}

// starts measures what a call costs that has next to nothing to do.
func (w *world) starts(pushers []pusher) (string, error) {
	const calls = 50
	commands := []struct{ name, command string }{
		{"`true`", "true"}, {"`gpdedup version`", w.exe + " version"},
	}
	for _, p := range pushers {
		if strings.HasPrefix(p.name, "pgBackRest") {
			program, _, _ := strings.Cut(p.command, " ")
			commands = append(commands, struct{ name, command string }{"`pgbackrest version`", program + " version"})
			break
		}
	}
	var cells []string
	for _, c := range commands {
		var all sample.Sample
		for range w.rounds {
			begin := time.Now()
			for range calls {
				if _, err := w.Run("sh", "-c", c.command); err != nil {
					return "", err
				}
			}
			all = append(all, time.Since(begin).Seconds()*1000/calls)
		}
		cells = append(cells, fmt.Sprintf("%s %.1f ms", c.name, all.Median()))
	}
	return "Process start, through `sh -c`: " + strings.Join(cells, ", ") + ".\n", nil
}
