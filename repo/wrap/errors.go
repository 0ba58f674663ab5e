package wrap

import (
	"errors"
	"fmt"
	"io"
)

// ErrCutShort: the end of the stream is not the end of what is in it.
var ErrCutShort = errors.New("it is cut short: the program that compressed it did not finish")

// ErrBeyond: it is no fault of the stream that it cannot be decompressed.
var ErrBeyond = fmt.Errorf("a frame needs a dictionary, or a window of more than %d MiB", maxWindow>>20)

// ErrClosed is what reading after Close gives.
var ErrClosed = errors.New("read stream: closed")

// BrokenError says that a stream is not whole, or cannot be decompressed. It never
// wraps io.EOF or io.ErrUnexpectedEOF, which would pass for an end.
type BrokenError struct {
	Format string // "gzip" or "zstd"
	Err    error
}

func (e *BrokenError) Error() string {
	if errors.Is(e.Err, ErrBeyond) {
		return e.Format + " stream cannot be decompressed: " + e.Err.Error()
	}
	return e.Format + " stream is not whole: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *BrokenError) Unwrap() error { return e.Err }

// broken tells a stream that ended from one that is wrong. What is the member or
// frame, counted from 1.
func broken(what string, n int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCutShort
	}
	return fmt.Errorf("it is damaged: %s %d: %w", what, n, err)
}
