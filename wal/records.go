package wal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gpdedup/gpdedup/digest"
)

// records say which files were pushed before the server asked for them. They are a
// matter of speed only: without one, a file is packed, and found to be there.
type records struct {
	dir string
	wal string // the files' directory

	claims claims // who pushes what at the moment
}

// pushed is a record.
type pushed struct {
	File   fileIdentity `json:"file"`
	Key    string       `json:"key"`
	Stored int64        `json:"stored"`
}

// fileIdentity tells a file from every other, and from itself after a change. A
// segment that is used again has another name, and to rename it changes Ctime.
type fileIdentity struct {
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64 // ns
}

func identify(info os.FileInfo) fileIdentity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileIdentity{}
	}
	return fileIdentity{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size,
		Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// openRecords returns the records for files in the directory, or nil if there is no
// place for them.
func (p *Pusher) openRecords(walDir string) *records {
	if p.Records == "" {
		return nil
	}
	abs, err := filepath.Abs(walDir)
	if err != nil {
		return nil
	}
	// A record counts for one directory, one repository, one archive.
	whose := digest.Sum([]byte(strings.Join([]string{p.Storage.Location(), p.Namespace, p.Content, abs}, "\x00")))
	dir := filepath.Join(p.Records, whose.String()[:32])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil
	}
	// What others could have put there would make this program say that files are
	// durable which are not.
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return nil
	}
	return &records{dir: dir, wal: walDir}
}

// openClaims opens the claims, which need not be done for a file that there is a record of.
func (r *records) openClaims() { r.claims = openClaims(r.dir + ".claims") }

// confirmed reports whether the file was pushed already: there is a record of the very
// file, and its object is there.
func (r *records) confirmed(ctx context.Context, p *Pusher, path string, name Name) bool {
	if r == nil {
		return false
	}
	record := filepath.Join(r.dir, name.String())
	data, err := os.ReadFile(record)
	if err != nil {
		return false
	}
	// Whatever the answer, it is of no further use.
	defer os.Remove(record)
	var known pushed
	info, err := os.Stat(path)
	if err != nil || json.Unmarshal(data, &known) != nil || known.Key == "" || known.File != identify(info) {
		return false
	}
	object, err := p.Storage.Stat(ctx, known.Key)
	return err == nil && object.Size == known.Stored
}

// note records that a file was pushed. It need not survive a crash.
func (r *records) note(name Name, what *pushed) {
	data, err := json.Marshal(what)
	if err != nil || what.File == (fileIdentity{}) {
		return
	}
	tmp := filepath.Join(r.dir, fmt.Sprintf(".%s.%d", name, os.Getpid()))
	if os.WriteFile(tmp, data, 0o600) != nil || os.Rename(tmp, filepath.Join(r.dir, name.String())) != nil {
		_ = os.Remove(tmp)
	}
}

// known reports whether there is a record of the name.
func (r *records) known(name Name) bool {
	_, err := os.Stat(filepath.Join(r.dir, name.String()))
	return err == nil
}

// tidy removes records of files that the server does not want to have archived (any
// more).
func (r *records) tidy(wanted []Name) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name, err := ParseName(e.Name())
		if err != nil || !slices.Contains(wanted, name) {
			_ = os.Remove(filepath.Join(r.dir, e.Name()))
		}
	}
}
