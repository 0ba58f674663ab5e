package quick

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// What else is in a spool.
const (
	PartSuffix = ".part" // of what is not whole yet
	LockFile   = "lock"  // held by the process that fetches ahead
	BellFile   = "bell"  // a pipe that wakes the process that fetches ahead
	LastFile   = "last"  // what the server asked for last: a symbolic link to nowhere
)

// Request is what a server asked for last, and in which direction it is going.
type Request struct {
	Segment string
	Size    uint32 // of segments, in bytes
	Back    bool   // it asked for the segment after this one before: pg_rewind does
}

// Last returns what the server asked for last.
func Last(spool string) (Request, bool) {
	text, err := os.Readlink(path.Join(spool, LastFile))
	if err != nil {
		return Request{}, false
	}
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return Request{}, false
	}
	size, err := strconv.ParseUint(fields[1], 10, 32)
	r := Request{Segment: fields[0], Size: uint32(size), Back: fields[2] == "back"}
	return r, err == nil && IsSegment(r.Segment) && ValidSize(r.Size)
}

// Served notes that the server got a segment of size bytes.
//
// That is the text of a symbolic link, because it lies in its inode: a file with bytes that replaces
// another is handed to the disk by ext4 there and then, and the server waits for that with
// each segment. Where there are no symbolic links there is no bell either, and nothing is
// fetched ahead.
func Served(spool, segment string, size uint32) error {
	direction := "on"
	if before, ok := Last(spool); ok && before.Size == size {
		now, _ := number(segment, size)
		then, _ := number(before.Segment, size)
		if now+1 == then || now == then && before.Back {
			direction = "back"
		}
	}
	text := segment + " " + strconv.FormatUint(uint64(size), 10) + " " + direction // 59 bytes at most lie in an inode
	return replace(path.Join(spool, LastFile), func(temporary string) error { return os.Symlink(text, temporary) })
}

// The sizes that a segment may have, in bytes: powers of two.
const (
	MinSize = 1 << 20
	MaxSize = 1 << 30
)

// ValidSize reports whether segments may have that many bytes.
func ValidSize(size uint32) bool { return size >= MinSize && size <= MaxSize && size&(size-1) == 0 }

// Number returns the number of the segment with the two last parts of a name, for segments of size bytes, and false
// if there is none.
func Number(log, seg, size uint32) (uint64, bool) {
	if !ValidSize(size) {
		return 0, false
	}
	perLog := uint64(1) << 32 / uint64(size)
	if uint64(seg) >= perLog {
		return 0, false
	}
	return uint64(log)*perLog + uint64(seg), true
}

func number(segment string, size uint32) (uint64, bool) {
	var timeline, log, seg uint32
	if !ParseHex(segment, &timeline, &log, &seg) {
		return 0, false
	}
	return Number(log, seg, size)
}

// Ring wakes the process that fetches ahead, and reports whether there is one.
func Ring(spool string) bool {
	fd, err := syscall.Open(path.Join(spool, BellFile), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false // nobody has its other end open
	}
	defer syscall.Close(fd)
	_, err = syscall.Write(fd, []byte{'\n'})
	return err == nil || errors.Is(err, syscall.EAGAIN) // it has been rung often enough
}

// Locked reports whether a process fetches ahead.
func Locked(spool string) bool {
	f, err := os.Open(path.Join(spool, LockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
