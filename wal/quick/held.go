package quick

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// Held is a segment in a spool, whose file is named
//
//	<segment>.<first 16 digits of its hash>.<time of its last change, ns, hexadecimal>.<boot>
type Held struct {
	Segment string
	File    string // its path
	Hash    string // HashDigits of them
	Info    os.FileInfo

	changed int64  // ns since 1970, as its name says
	boot    string // the machine's start before that; empty: not known
}

// HashDigits is how many digits of its hash the name of a held segment has.
const HashDigits = 16

// HeldName returns the name of the file of a held segment.
func HeldName(segment, hash string, changed time.Time) string {
	return fmt.Sprintf("%s.%s.%x.%s", segment, hash[:HashDigits], changed.UnixNano(), thisBoot())
}

// List returns the segments in the spool.
func List(spool string) ([]Held, error) {
	entries, err := os.ReadDir(spool)
	var all []Held
	for _, e := range entries {
		if h, ok := parseHeld(spool, e); ok {
			all = append(all, h)
		}
	}
	return all, err
}

// parseHeld returns the segment that is in the entry of the spool, if it is one.
func parseHeld(spool string, e os.DirEntry) (Held, bool) {
	fields := strings.Split(e.Name(), ".")
	if len(fields) != 4 || !IsSegment(fields[0]) || len(fields[1]) != HashDigits {
		return Held{}, false
	}
	changed, err := strconv.ParseInt(fields[2], 16, 64)
	info, ierr := e.Info()
	if err != nil || ierr != nil {
		return Held{}, false
	}
	return Held{Segment: fields[0], File: path.Join(spool, e.Name()), Hash: fields[1], Info: info, changed: changed, boot: fields[3]}, true
}

// find returns the segment.
func find(spool, segment string) (Held, bool) {
	entries, _ := os.ReadDir(spool) // those that could be read
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), segment+".") {
			if h, ok := parseHeld(spool, e); ok {
				return h, true
			}
		}
	}
	return Held{}, false
}

// Await returns the segment. While it is being fetched, it waits for that, but for no longer than patience, nor
// when done is closed.
func Await(done <-chan struct{}, spool, segment string, patience time.Duration) (Held, bool) {
	for deadline := time.Now().Add(patience); ; {
		// In this order: between the two it may become a whole one, not the reverse.
		_, err := os.Lstat(path.Join(spool, segment+PartSuffix))
		coming := err == nil
		if h, found := find(spool, segment); found {
			return h, true
		}
		if !coming || !Locked(spool) || time.Now().After(deadline) {
			return Held{}, false
		}
		select {
		case <-done:
			return Held{}, false
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// freshFor is how long a segment is handed over as it was checked when it was put
// into the spool, unless it was changed since. A server that got it directly may take as
// long to read it.
const freshFor = time.Minute

// Fresh reports whether the segment need not be checked again. It may not be durable yet,
// so it is not fresh after the machine went down, however soon it came up again.
func (h *Held) Fresh() bool {
	modified := h.Info.ModTime()
	age := time.Since(modified)
	return modified.UnixNano() == h.changed && age >= 0 && age < freshFor && h.boot != "" && h.boot == thisBoot()
}

// thisBoot returns what tells this start of the machine from others, or "".
func thisBoot() string {
	const digits = 8
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(id) < digits {
		return ""
	}
	return string(id[:digits])
}

// LeaveFetch leaves a ticket for calls like this one of restore_command: what was fetched ahead
// for the server with the data directory is in the spool, as long as that is of the cluster with this system identifier.
func (c *Call) LeaveFetch(spool, dataDir string, system uint64) error {
	return c.leave(spool, strconv.FormatUint(system, 10)+" "+dataDir)
}

// fetch answers a call of restore_command.
func (c *Call) fetch(spool, server string) bool {
	text, dataDir, _ := strings.Cut(server, " ")
	system, err := strconv.ParseUint(text, 10, 64)
	if err != nil || !Owned(spool) || systemOf(dataDir) != system {
		return false
	}
	// What is no file must not be replaced, and is for the program to speak of.
	if info, err := os.Lstat(c.Path); err == nil && !info.Mode().IsRegular() || err != nil && !os.IsNotExist(err) {
		return false
	}
	h, ok := Await(nil, spool, c.File, patience/2)
	if !ok || !h.Fresh() || os.Rename(h.File, c.Path) != nil {
		return false
	}
	if Served(spool, c.File, uint32(h.Info.Size())) == nil {
		Ring(spool)
	}
	return true
}

// systemOf returns the system identifier that begins the control file of the cluster, 0 if it cannot be
// read.
func systemOf(dataDir string) uint64 {
	f, err := os.Open(path.Join(dataDir, "global", "pg_control"))
	if err != nil {
		return 0
	}
	defer f.Close()
	var id [8]byte
	if _, err := f.ReadAt(id[:], 0); err != nil {
		return 0
	}
	return binary.NativeEndian.Uint64(id[:])
}
