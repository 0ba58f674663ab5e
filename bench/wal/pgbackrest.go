package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// cipher is how pgBackRest encrypts, with one of its passphrases.
const cipher = `repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=zWaf6XtpjIVZC5444yXB+cgFDFl7MxGlgkZSaoPvTGirhPygu4jOKOXf9LO4vjfO
`

// restDir is where a pgBackRest lies.
func (w *world) restDir(encrypted bool) string {
	if encrypted {
		return filepath.Join(w.dir, "pgbackrest-encrypted")
	}
	return filepath.Join(w.dir, "pgbackrest")
}

// encryptedName marks the rows of what is encrypted.
func encryptedName(name string, encrypted bool) string {
	if encrypted {
		return name + ", encrypted"
	}
	return name
}

// rest is pgBackRest with a repository that holds nothing yet. It is "" where pgBackRest
// is not installed.
func (w *world) rest(encrypted bool) (command string, err error) {
	if w.set.alone {
		return "", nil
	}
	program, err := exec.LookPath("pgbackrest")
	if err != nil {
		w.Logf("pgBackRest is not installed: left out")
		return "", nil //nolint:nilerr // as is said
	}
	dir := w.restDir(encrypted)
	encryption := ""
	if encrypted {
		encryption = cipher
	}
	command = program + " --config=" + dir + "/config --stanza=main"
	if _, err := os.Stat(dir); err == nil {
		return command, nil
	}
	for _, d := range []string{"", "repo", "log", "lock", "spool"} {
		if err := w.folder(filepath.Join(dir, d)); err != nil {
			return "", err
		}
	}
	config := fmt.Sprintf(`[global]
repo1-path=%[1]s/repo
log-path=%[1]s/log
lock-path=%[1]s/lock
spool-path=%[1]s/spool
compress-type=zst
compress-level=1
log-level-file=off
log-level-console=warn
process-max=2
archive-get-queue-max=256MiB
%[4]s[main]
pg1-path=%[2]s
pg1-socket-path=%[3]s
pg1-user=postgres
`, dir, w.primary.Data, w.primary.Socket(), encryption)
	if err := os.WriteFile(dir+"/config", []byte(config), 0o644); err != nil {
		return "", err
	}
	w.primary.Start(w)
	_, err = w.Run("sh", "-c", command+" stanza-create")
	w.primary.Stop(w, "fast")
	return command, err
}

// restFilled is rest with all segments in its repository, compressed with zstd.
func (w *world) restFilled(encrypted bool) (command string, err error) {
	if command, err = w.rest(encrypted); command == "" || err != nil {
		return "", err
	}
	w.Logf("archiving with %s", encryptedName("pgBackRest", encrypted))
	for _, f := range w.files {
		// It wants the path that the server would give.
		_, err = w.Run("sh", "-c", "cp "+w.plain+"/"+f+" "+w.primary.Data+"/pg_wal/x."+f+" && mv "+w.primary.Data+"/pg_wal/x."+f+" "+w.primary.Data+"/pg_wal/"+f+
			" && "+command+" archive-push "+w.primary.Data+"/pg_wal/"+f)
		if err != nil {
			return "", err
		}
	}
	return command, nil
}

// restFetch returns ways to fetch with pgBackRest.
func (w *world) restFetch() ([]archive, error) {
	var all []archive
	for _, encrypted := range []bool{false, true} {
		command, err := w.restFilled(encrypted)
		if command == "" || err != nil {
			return nil, err
		}
		for _, mode := range []struct{ name, flags string }{{"pgBackRest", " --no-archive-async"}, {"pgBackRest, asynchronous", " --archive-async"}} {
			all = append(all, archive{
				name:  encryptedName(mode.name, encrypted),
				fetch: command + mode.flags + " --pg1-path=PGDATA archive-get %f %p",
				clear: func() error {
					spool := filepath.Join(w.restDir(encrypted), "spool")
					return errors.Join(os.RemoveAll(spool), w.folder(spool))
				},
			})
		}
	}
	return all, nil
}

// of returns the command as it is for the server at data.
func (a *archive) of(data string) string { return strings.ReplaceAll(a.fetch, "PGDATA", data) }
