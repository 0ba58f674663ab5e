package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of Decode.
var (
	// ErrCorrupt: the delta does not fit base and target.
	ErrCorrupt = errors.New("corrupt delta")
	// ErrNewer: the delta is of a version that this one does not know.
	ErrNewer = errors.New("delta of a newer version; upgrade gpdedup")
)

// Decode appends the target, which is exactly size bytes long, to dst. It reads
// nothing outside base and delta and never appends more than size bytes.
func Decode(dst, base, delta []byte, size int) ([]byte, error) {
	if len(delta) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrCorrupt)
	}
	if delta[0] != Version {
		return nil, fmt.Errorf("%w: version %d", ErrNewer, delta[0])
	}
	count, rest, ok := take(delta[1:])
	length, rest, ok2 := take(rest)
	if !ok || !ok2 || length > uint64(len(rest)) || count > length {
		return nil, fmt.Errorf("%w: %d instructions in %d bytes", ErrCorrupt, count, length)
	}
	ops, literals := rest[:length], rest[length:]
	begin := len(dst)
	end := int64(0)
	for ; count > 0; count-- {
		var insert, n uint64
		if insert, ops, ok = take(ops); !ok || insert > uint64(len(literals)) || insert > uint64(size-(len(dst)-begin)) {
			return nil, fmt.Errorf("%w: insert of %d bytes", ErrCorrupt, insert)
		}
		dst = append(dst, literals[:insert]...)
		literals = literals[insert:]
		if n, ops, ok = take(ops); !ok || n == 0 && count != 1 {
			return nil, fmt.Errorf("%w: empty copy", ErrCorrupt)
		}
		if n == 0 {
			break
		}
		where, k := binary.Varint(ops)
		if k <= 0 {
			return nil, fmt.Errorf("%w: cut short", ErrCorrupt)
		}
		ops = ops[k:]
		start := end + where
		if start < 0 || start > int64(len(base)) || n > uint64(int64(len(base))-start) ||
			n > uint64(size-(len(dst)-begin)) {
			return nil, fmt.Errorf("%w: copy of %d bytes from %d", ErrCorrupt, n, start)
		}
		end = start + int64(n)
		dst = append(dst, base[start:end]...)
	}
	if len(ops) != 0 || len(literals) != 0 || len(dst)-begin != size {
		return nil, fmt.Errorf("%w: it makes %d bytes and leaves %d, not %d", ErrCorrupt, len(dst)-begin, len(literals), size)
	}
	return dst, nil
}

// take reads an unsigned number from the front of p.
func take(p []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(p)
	if n <= 0 {
		return 0, nil, false
	}
	return v, p[n:], true
}
