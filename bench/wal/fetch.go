package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// measureFetch measures how many segments a second come out one after the other, as a
// server asks for them, that takes no time to replay them.
func measureFetch(w *world) (string, error) {
	repository, err := w.repository()
	if err != nil {
		return "", err
	}
	archives, err := w.restFetch()
	if err != nil {
		return "", err
	}
	archives = append([]archive{
		w.cp(), w.ours("gpdedup, encrypted", w.exe, repository), w.ours("gpdedup, encrypted, `--prefetch 0`", w.exe, repository, "--prefetch", "0"),
	}, archives...)
	files := w.files[:min(len(w.files), 100)]
	for range w.rounds {
		for _, a := range archives {
			took, err := w.fetchAll(&a, files)
			if err != nil {
				return "", err
			}
			w.note(a.name, fetched, len(files), took)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| `restore_command` | segments/s, one after the other | processor time of each call, ms |\n|---|---:|---:|\n")
	for _, a := range archives {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", a.name, w.rate(a.name, fetched), w.each(a.name, fetched))
	}
	return b.String(), nil
}

// fetchAll asks for the files as a server in recovery does.
func (w *world) fetchAll(a *archive, files []string) (time.Duration, error) {
	if err := a.clear(); err != nil {
		return 0, err
	}
	data := filepath.Join(w.dir, "asking")
	if out, err := w.Run("sh", "-c", "rm -rf "+data+" && cp -a "+w.backup.Data+" "+data+" && touch "+data+"/recovery.signal"); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	// What fetches ahead wants to see a server.
	server := w.Command("sleep", "3600")
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer func() { _, _ = server.Process.Kill(), server.Wait() }()
	pid := strconv.Itoa(server.Process.Pid)
	if out, err := w.Run("sh", "-c", "echo "+pid+" > "+data+"/postmaster.pid"); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	const dest = "pg_wal/RECOVERYXLOG"
	w.used = 0
	begin := time.Now()
	for _, f := range files {
		cmd := w.Command("sh", "-c", strings.NewReplacer("%f", f, "%p", dest).Replace(a.of(data)))
		cmd.Dir = data
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %s: %w: %s", a.name, f, err, out)
		}
		w.used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if info, err := os.Stat(filepath.Join(data, dest)); err != nil || info.Size() != 16<<20 {
			return 0, fmt.Errorf("%s: %s did not come (%v)", a.name, f, err)
		}
		if err := os.Remove(filepath.Join(data, dest)); err != nil {
			return 0, err
		}
	}
	took := time.Since(begin)
	return took, os.Remove(filepath.Join(data, "recovery.signal"))
}
