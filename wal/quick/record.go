package quick

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// Record says that a file was pushed before the server asked for that.
type Record struct {
	File   Identity
	Stored int64 // bytes of its object
	Key    string
}

// Identity tells a file from every other, and from itself after a change. A
// segment that is used again has another name, and to rename it changes Ctime.
type Identity struct {
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64 // ns
}

// Identify returns the identity of a file, the zero value if it has none.
func Identify(info os.FileInfo) Identity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Identity{}
	}
	return Identity{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size,
		Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// recordVersion begins a record: no other one is meant by it.
const recordVersion = "1"

// Write makes the file of a record.
func (r *Record) Write(file string) error {
	f := &r.File
	text := fmt.Sprintf("%s %d %d %d %d %d %d %s\n", recordVersion, f.Dev, f.Ino, f.Size, f.Mtime, f.Ctime, r.Stored, r.Key)
	return replace(file, func(temporary string) error { return os.WriteFile(temporary, []byte(text), 0o600) })
}

// parseRecord reads a record.
func parseRecord(text string) (r Record, ok bool) {
	fields := strings.SplitN(strings.TrimSuffix(text, "\n"), " ", 8)
	if len(fields) != 8 || fields[0] != recordVersion || fields[7] == "" {
		return Record{}, false
	}
	for i, field := range []*uint64{&r.File.Dev, &r.File.Ino} {
		v, err := strconv.ParseUint(fields[1+i], 10, 64)
		if err != nil {
			return Record{}, false
		}
		*field = v
	}
	for i, field := range []*int64{&r.File.Size, &r.File.Mtime, &r.File.Ctime, &r.Stored} {
		v, err := strconv.ParseInt(fields[3+i], 10, 64)
		if err != nil {
			return Record{}, false
		}
		*field = v
	}
	r.Key = fields[7]
	return r, r.File != Identity{}
}

// Confirmed reports whether the file was pushed: there is a record of the very
// file, and its object, whose size stored returns, is there. Whatever the answer, the
// record is of no further use, and removed.
func Confirmed(record, file string, stored func(key string) (size int64, err error)) bool {
	text, err := os.ReadFile(record)
	if err != nil {
		return false
	}
	defer os.Remove(record)
	r, ok := parseRecord(string(text))
	info, err := os.Stat(file)
	if !ok || err != nil || r.File != Identify(info) {
		return false
	}
	size, err := stored(r.Key)
	return err == nil && size == r.Stored
}

// LeavePush leaves a ticket for calls like this one of archive_command: records of what was pushed are in the
// directory records, and objects are files of the directory repository, by their keys.
func (c *Call) LeavePush(records, repository string) error { return c.leave(records, repository) }

// push answers a call of archive_command.
func (c *Call) push(records, repository string) bool {
	return Owned(records) && Confirmed(path.Join(records, c.File), c.Path, func(key string) (int64, error) {
		info, err := os.Lstat(path.Join(repository, key))
		if err != nil || !info.Mode().IsRegular() {
			return 0, os.ErrNotExist
		}
		return info.Size(), nil
	})
}
