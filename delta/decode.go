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
	r, literals, err := newReader(delta, len(base), size)
	if err != nil {
		return nil, err
	}
	for r.count > 0 {
		insert, start, n, err := r.next()
		if err != nil {
			return nil, err
		}
		dst = append(dst, literals[:insert]...)
		literals = literals[insert:]
		dst = append(dst, base[start:start+n]...)
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	return dst, nil
}

// reader reads a delta's instructions, and lets none pass that base or target do not
// permit.
type reader struct {
	ops      []byte
	count    uint64 // instructions that are left
	literals int    // bytes that are left
	base     int    // bytes
	size     int    // of the target
	room     int    // bytes of the target that are left
	end      int    // in the base, of the copy before
}

// newReader returns what reads the delta's instructions, and the delta's literals.
func newReader(delta []byte, base, size int) (r reader, literals []byte, err error) {
	if len(delta) == 0 {
		return r, nil, fmt.Errorf("%w: empty", ErrCorrupt)
	}
	if delta[0] != Version {
		return r, nil, fmt.Errorf("%w: version %d", ErrNewer, delta[0])
	}
	count, rest, ok := take(delta[1:])
	length, rest, ok2 := take(rest)
	if !ok || !ok2 || length > uint64(len(rest)) || count > length {
		return r, nil, fmt.Errorf("%w: %d instructions in %d bytes", ErrCorrupt, count, length)
	}
	literals = rest[length:]
	return reader{ops: rest[:length], count: count, literals: len(literals), base: base, size: size, room: size}, literals, nil
}

// next returns how many literals come next, and from where in the base how many bytes
// after them; none after the last literals, perhaps.
func (r *reader) next() (insert, start, length int, err error) {
	n, ops, ok := take(r.ops)
	if !ok || n > uint64(r.literals) || n > uint64(r.room) {
		return 0, 0, 0, fmt.Errorf("%w: insert of %d bytes", ErrCorrupt, n)
	}
	insert = int(n)
	r.literals -= insert
	r.room -= insert
	n, ops, ok = take(ops)
	if r.count--; !ok || n == 0 && r.count > 0 {
		return 0, 0, 0, fmt.Errorf("%w: empty copy", ErrCorrupt)
	}
	if n == 0 {
		r.ops = ops
		return insert, 0, 0, nil
	}
	where, k := binary.Varint(ops)
	if k <= 0 {
		return 0, 0, 0, fmt.Errorf("%w: cut short", ErrCorrupt)
	}
	r.ops = ops[k:]
	from := int64(r.end) + where
	if from < 0 || from > int64(r.base) || n > uint64(int64(r.base)-from) || n > uint64(r.room) {
		return 0, 0, 0, fmt.Errorf("%w: copy of %d bytes from %d", ErrCorrupt, n, from)
	}
	start, length = int(from), int(n)
	r.room -= length
	r.end = start + length
	return insert, start, length, nil
}

// finish reports whether the delta was read to its end and makes the whole target.
func (r *reader) finish() error {
	if len(r.ops) != 0 || r.literals != 0 || r.room != 0 {
		return fmt.Errorf("%w: it makes %d bytes and leaves %d, not %d", ErrCorrupt, r.size-r.room, r.literals, r.size)
	}
	return nil
}

// take reads an unsigned number from the front of p.
func take(p []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(p)
	if n <= 0 {
		return 0, nil, false
	}
	return v, p[n:], true
}
