package mem

import "context"

// Fault says what goes wrong with one operation. The zero Fault is none. Block
// is obeyed first, then Before, then Edit while the operation runs, then After.
type Fault struct {
	// Block, if not nil, holds the operation up before it has any effect until the
	// channel is closed, or its context ends: then there is no effect.
	Block <-chan struct{}

	// Before is returned instead of running the operation.
	Before error

	// After is returned although the operation took effect: the acknowledgement
	// that got lost. An operation that fails by itself returns its own error.
	After error

	// Edit changes the bytes that a Read or Get is about to return. It owns the
	// slice that it is given. A Read that is left with fewer bytes than asked for
	// fails with ErrShort. See Truncate and FlipBit.
	Edit func([]byte) []byte
}

// SetHook makes hook decide on the fault of every operation from now on; nil
// ends that. op is one of the names that Counts gives, key is the prefix for
// "list" and "children". The hook runs on the operation's goroutine, must be safe
// for concurrent use, and may itself use the store (it is then asked about that,
// too).
func (s *Store) SetHook(hook func(op, key string) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

func (f Fault) before(ctx context.Context) error {
	if f.Block != nil {
		select {
		case <-f.Block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.Before
}

// Truncate cuts n bytes off the end, for Fault.Edit and Store.Corrupt.
func Truncate(n int) func([]byte) []byte {
	return func(b []byte) []byte { return b[:max(0, len(b)-n)] }
}

// FlipBit inverts bit n, counted from the lowest of the first byte and modulo the
// length, for Fault.Edit and Store.Corrupt. Without any bytes it does nothing.
func FlipBit(n int) func([]byte) []byte {
	return func(b []byte) []byte {
		if len(b) > 0 {
			n := n % (8 * len(b))
			b[n/8] ^= 1 << (n % 8)
		}
		return b
	}
}
