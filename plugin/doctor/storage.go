package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/probe"
	"github.com/gpdedup/gpdedup/storage/target"
)

// Disk is what a file system says of itself; sizes in bytes.
type Disk struct {
	Size, Free       int64
	Files, FreeFiles uint64 // 0 files: it does not count them
	Remote           string // kind of a file system of the network; empty: it is local
	ReadOnly         bool
}

// What is little space: for a repository a share of the file system, for a cache what it
// may take.
const (
	littleShare = 5       // percent
	cacheLimit  = 4 << 30 // bytes
)

// cache looks at the host-local cache. Nothing fails without it; it is only slow, and
// stores more.
func (x *examination) cache() {
	const check = "cache"
	dir := x.config.CacheDir
	if dir == "" {
		x.find(check, Warning, "set the option cache_dir", "there is none: every process reads the whole index")
		return
	}
	// Made and looked at as a backup does, in a directory beside those of repositories.
	probe := filepath.Join(dir, "doctor")
	if _, err := index.OpenCache(probe, index.CacheOptions{}); err != nil {
		x.find(check, Warning, "let this user have "+dir+" for itself (chmod 700), or set the option cache_dir", "it is not used: %s", err)
		return
	}
	defer os.RemoveAll(probe)
	if err := private(dir); err != nil {
		x.find(check, Warning, "chmod 700 "+dir, "what is read to open a bucket is not kept: %s", err)
	}
	if err := writable(probe); err != nil {
		x.find(check, Warning, "make room, or set the option cache_dir", "it is not used: %s: %s", dir, cause(err))
		return
	}
	disk, err := x.o.Disk(dir)
	switch {
	case err != nil:
		x.find(check, OK, "", "%s", dir)
	case disk.Remote != "":
		x.find(check, Warning, "set the option cache_dir to a directory on a local disk",
			"%s lies on %s: the cache is made for local disks, and hosts must not share it", dir, disk.Remote)
	case disk.Free < cacheLimit:
		x.find(check, Warning, "make room, or set the option cache_dir", "%s: %s free; the cache may take %s", dir, size(disk.Free), size(cacheLimit))
	default:
		x.find(check, OK, "", "%s: takes %s, %s free", dir, size(taken(dir)), size(disk.Free))
	}
}

// private reports why a directory is not this user's own.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 || others(info) != "" {
		return fmt.Errorf("others can change %s", dir)
	}
	return nil
}

// writable writes a file and removes it.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, "doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// taken returns what the files below dir take.
func taken(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it was removed meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// key reads the secret, without the repository, and reports whether it is worth a try
// there.
func (x *examination) key() bool {
	const check = "key"
	s := x.config.Secret
	if s.IsZero() {
		return true // the repository says whether it needs one
	}
	if _, err := s.Read(x.ctx); err != nil {
		x.fail(check, err, "put it there on every host, for the user that runs gpbackup")
		return false
	}
	if s.KeyFile == "" {
		x.find(check, Warning, "use a key file: gpdedup repo key add --new-key-file FILE",
			"a password costs each of the thousands of processes of a backup a tenth of a second and 64 MiB")
		return true
	}
	x.find(check, OK, "", "%s", s.KeyFile)
	return true
}

// repository opens the repository as a backup does, and puts and removes an object.
func (x *examination) repository() {
	const check = "repository"
	// A wrong endpoint should not take the minutes that a backup waits.
	x.config.Target.Patience = 15 * time.Second
	r, err := x.config.Open(x.ctx, "write", x.o.Version, nil)
	if err != nil {
		x.fail(check, err, "see docs/gpbackup.md, Troubleshooting")
		return
	}
	defer r.Close()
	c := r.Config()
	x.report.Repository = c.IDHex
	if c.Encrypted() {
		x.find(check, OK, "", "%s: opens; id %.8s", x.config.Repository, c.IDHex)
	} else {
		x.find(check, Warning, "if that is not meant: gpdedup repo init --key-file FILE makes one that is encrypted",
			"%s: opens; id %.8s; it is not encrypted, and whoever has the storage can read and forge backups", x.config.Repository, c.IDHex)
	}
	x.space()
	x.access(r)
}

// space looks at the file system of a repository in a directory.
func (x *examination) space() {
	const check = "space"
	if target.IsBucket(x.config.Repository) {
		return
	}
	disk, err := x.o.Disk(x.config.Repository)
	if err != nil {
		return // the system does not say
	}
	const fix = "add space, or free some: gpdedup backup forget, gpdedup repo prune"
	switch {
	case disk.ReadOnly:
		x.find(check, Problem, "mount it for writing", "%s: its file system is read-only", x.config.Repository)
	case disk.Free <= 0 || disk.Files > 0 && disk.FreeFiles == 0:
		x.find(check, Problem, fix, "%s: its file system is full", x.config.Repository)
	case disk.Size > 0 && disk.Free*100/disk.Size < littleShare:
		x.find(check, Warning, fix, "%s: %s of %s free", x.config.Repository, size(disk.Free), size(disk.Size))
	case disk.Files > 0 && disk.FreeFiles*100/disk.Files < littleShare:
		x.find(check, Warning, fix, "%s: only %d of %d inodes are free", x.config.Repository, disk.FreeFiles, disk.Files)
	default:
		x.find(check, OK, "", "%s of %s free", size(disk.Free), size(disk.Size))
	}
}

// access puts an object, reads, lists and removes it, and compares clocks.
func (x *examination) access(r *repo.Repo) {
	found, err := probe.Quick(x.ctx, r.Storage())
	if err != nil {
		fix := "let this host's account write below " + x.config.Repository
		if errors.Is(err, storage.ErrNoSpace) {
			fix = "add space, or free some: gpdedup backup forget, gpdedup repo prune"
		}
		x.fail("write", err, fix)
		return
	}
	for _, f := range found.Findings {
		check, state, fix := "write", OK, ""
		if f.Name == "clocks" {
			check = "clock"
		}
		switch f.Verdict {
		case probe.Weak:
			state, fix = Warning, "have this host and the storage get their time from the same place (NTP)"
		case probe.Broken:
			state, fix = Problem, "use another storage; 'gpdedup repo probe' shows more"
		case probe.Good:
			if check == "write" && f.Name != "write" && f.Name != "delete" {
				continue // goes without saying
			}
		}
		x.find(check, state, fix, "%s", sentence(f))
	}
}

// sentence is what a finding of the probe says, with its name where it needs that.
func sentence(f probe.Finding) string {
	if f.Name == "clocks" || f.Name == "write" {
		return f.Says
	}
	return f.Name + ": " + f.Says
}

// size writes a number of bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
