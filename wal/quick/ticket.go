package quick

import (
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticketVersion begins a ticket. What another version wrote is none.
const ticketVersion = "gpdedup call 1"

// A ticket is a file of lines: its version, two values, quoted, and what is the same for all calls that
// it is for.
const ticketLines = 4

// file returns where the ticket lies: the name tells calls apart nearly always, and the
// content always.
func (c *Call) file() string {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	sum := uint64(offset)
	for i := range len(c.same) {
		sum = (sum ^ uint64(c.same[i])) * prime
	}
	return path.Join(c.dir, strconv.FormatUint(sum, 16))
}

// leave leaves a ticket with two values for calls like this one. It need not survive a crash.
func (c *Call) leave(one, two string) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	text := strings.Join([]string{ticketVersion, strconv.Quote(one), strconv.Quote(two), c.same}, "\n")
	return replace(c.file(), func(temporary string) error { return os.WriteFile(temporary, []byte(text), 0o600) })
}

// Forget removes what was left.
func (c *Call) Forget() { _ = os.Remove(c.file()) }

// ticket returns the values of the ticket for the call, if there is one.
func (c *Call) ticket() (one, two string, ok bool) {
	if !Owned(c.dir) {
		return "", "", false
	}
	text, err := os.ReadFile(c.file())
	if err != nil {
		return "", "", false
	}
	lines := strings.SplitN(string(text), "\n", ticketLines)
	if len(lines) != ticketLines || lines[0] != ticketVersion || lines[3] != c.same {
		return "", "", false
	}
	one, err = strconv.Unquote(lines[1])
	if err == nil {
		two, err = strconv.Unquote(lines[2])
	}
	return one, two, err == nil
}

// Owned reports whether dir is a directory that is this user's and that no other one can write
// to. What others could have put there would have a server told, for example, that files are durable which are not.
func Owned(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// replace has what content makes, under a temporary name, appear as file.
func replace(file string, content func(temporary string) error) error {
	temporary := file + "." + strconv.Itoa(os.Getpid()) + "." + strconv.FormatInt(time.Now().UnixNano(), 16) + PartSuffix
	err := content(temporary)
	if err == nil {
		err = os.Rename(temporary, file)
	}
	if err != nil {
		_ = os.Remove(temporary)
	}
	return err
}
