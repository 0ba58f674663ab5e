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
	count, n := binary.Uvarint(delta[1:])
	ops := delta[1+max(n, 0):]
	if n <= 0 || count > uint64(len(ops)) {
		return nil, fmt.Errorf("%w: instruction count", ErrCorrupt)
	}
	literals, err := skip(ops, count)
	if err != nil {
		return nil, err
	}
	begin := len(dst)
	end := int64(0)
	for ; count > 0; count-- {
		insert, n := binary.Uvarint(ops)
		ops = ops[n:] // skip has read all of them before
		length, n := binary.Uvarint(ops)
		ops = ops[n:]
		if insert > uint64(len(literals)) || insert > uint64(size-(len(dst)-begin)) {
			return nil, fmt.Errorf("%w: insert of %d bytes", ErrCorrupt, insert)
		}
		dst = append(dst, literals[:insert]...)
		literals = literals[insert:]
		if length == 0 {
			if count != 1 {
				return nil, fmt.Errorf("%w: empty copy", ErrCorrupt)
			}
			break
		}
		where, n := binary.Varint(ops)
		ops = ops[n:]
		start := end + where
		if start < 0 || start > int64(len(base)) || length > uint64(int64(len(base))-start) ||
			length > uint64(size-(len(dst)-begin)) {
			return nil, fmt.Errorf("%w: copy of %d bytes from %d", ErrCorrupt, length, start)
		}
		end = start + int64(length)
		dst = append(dst, base[start:end]...)
	}
	if len(literals) != 0 || len(dst)-begin != size {
		return nil, fmt.Errorf("%w: it makes %d bytes and leaves %d, not %d", ErrCorrupt, len(dst)-begin, len(literals), size)
	}
	return dst, nil
}

// skip returns what follows the instructions.
func skip(ops []byte, count uint64) ([]byte, error) {
	for ; count > 0; count-- {
		for field := range 3 {
			v, n := binary.Uvarint(ops)
			if n <= 0 {
				return nil, fmt.Errorf("%w: cut short", ErrCorrupt)
			}
			ops = ops[n:]
			if field == 1 && v == 0 {
				break
			}
		}
	}
	return ops, nil
}
