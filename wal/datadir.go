package wal

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// DataDir is the data directory of the server that a file is fetched for, or "" if
// nothing says that there is one.
type DataDir string

// DataDirOf returns the data directory that dest, where a fetched file is to appear,
// lies in. A server gives pg_wal/RECOVERYXLOG and has its data directory as working
// directory, pg_rewind gives the full path of the segment. Where pg_wal is a symbolic
// link, it is the way there that counts.
func DataDirOf(dest string) DataDir {
	abs, err := filepath.Abs(dest)
	if err != nil {
		return ""
	}
	switch dir := filepath.Dir(abs); filepath.Base(dir) {
	case "pg_wal", "pg_xlog":
		return DataDir(filepath.Dir(dir))
	}
	return ""
}

// DataDirFor returns the data directory pgdata, or if that is empty the one that the file lies in, as
// DataDirOf does.
func DataDirFor(file, pgdata string) (DataDir, error) {
	if pgdata == "" {
		return DataDirOf(file), nil
	}
	dir, err := filepath.Abs(pgdata)
	return DataDir(dir), err
}

func (d DataDir) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// Standby reports whether the server is, or will start as, a standby: then it asks
// again for what it does not get, and waits. Without, the first file that it does not
// get is the end of the WAL to it.
func (d DataDir) Standby() bool {
	if d == "" {
		return false
	}
	if _, err := os.Stat(d.path("standby.signal")); err == nil {
		return true
	}
	return d.oldStandby()
}

// EndsWithTheArchive reports whether the server is, or will start, in a recovery that
// ends where it gets no more from the archive.
func (d DataDir) EndsWithTheArchive() bool {
	if d == "" || d.Standby() {
		return false
	}
	for _, name := range []string{"recovery.signal", "recovery.conf"} {
		if _, err := os.Stat(d.path(name)); err == nil {
			return true
		}
	}
	return false
}

// oldStandby is Standby for servers before version 12, Greenplum 6 among them.
func (d DataDir) oldStandby() bool {
	data, err := os.ReadFile(d.path("recovery.conf"))
	if err != nil {
		return false
	}
	on := false
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if !found { // the sign may be left out
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if strings.EqualFold(strings.TrimSpace(name), "standby_mode") {
			switch strings.ToLower(strings.Trim(strings.TrimSpace(value), "'")) {
			case "on", "true", "yes", "1", "t", "y":
				on = true
			default:
				on = false
			}
		}
	}
	return on
}

// Recovering reports whether a server runs there that is in recovery from an archive,
// as far as its files tell.
func (d DataDir) Recovering() bool {
	if d == "" {
		return false
	}
	pid := d.server()
	return pid > 0 && (d.Standby() || d.EndsWithTheArchive()) && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// FirstProcess reports whether a server runs there that is the first process of its
// container, and so becomes the parent of each process there that loses its own.
func (d DataDir) FirstProcess() bool { return d != "" && d.server() == 1 }

// server returns the process id of the server there, 0 if there is none.
func (d DataDir) server() int {
	data, err := os.ReadFile(d.path("postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0
	}
	return pid
}

// System returns the system identifier of the cluster, 0 if there is no control file.
func (d DataDir) System() (SystemID, error) {
	if d == "" {
		return 0, nil
	}
	c, err := ReadControl(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return c.System, err
}

// checkpointTimeline returns the timeline that the last checkpoint was on, 0 if this
// program does not know where in the control file that is.
func (d DataDir) checkpointTimeline() uint32 {
	const versionAt, timelineAt = 8, 48
	data, err := os.ReadFile(ControlPath(string(d)))
	if d == "" || err != nil || len(data) < timelineAt+4 {
		return 0
	}
	// PostgreSQL 11 to 18. Before, there was an address more in front of it, and what
	// derives from PostgreSQL numbers its files otherwise.
	if v := binary.LittleEndian.Uint32(data[versionAt:]); v < 1100 || v > 1999 {
		return 0
	}
	return binary.LittleEndian.Uint32(data[timelineAt:])
}

// hasSegment reports whether the server has the segment itself, so that it will do
// without the archive's.
func (d DataDir) hasSegment(name Name, system SystemID) bool {
	if d == "" {
		return false
	}
	for _, folder := range []string{"pg_wal", "pg_xlog"} {
		f, err := os.Open(d.path(folder, name.String()))
		if err != nil {
			continue
		}
		front := make([]byte, PageHeaderSize)
		_, err = f.ReadAt(front, 0)
		info, serr := f.Stat()
		_ = f.Close() // only read
		if err != nil || serr != nil {
			continue
		}
		h, err := ParsePageHeader(front)
		// A segment that was made ahead of need still begins like the one that it was.
		if err == nil && h.Check(name, info.Size()) == nil && h.System == system {
			return true
		}
	}
	return false
}
