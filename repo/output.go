package repo

import (
	"context"
	"io"
)

// write sends the runs out in order. It holds each piece back until the next is
// verified, so the last goes out only after everything was checked.
func (s *restorer) write(ctx context.Context, out io.Writer, progress func(int64)) error {
	var total int64
	var held, whole []byte
	release := func() error {
		if len(held) == 0 {
			return nil
		}
		n, err := out.Write(held)
		total += int64(n)
		if err == nil && n < len(held) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return &OutputError{err}
		}
		if progress != nil {
			progress(total)
		}
		s.r.buffers.put(whole)
		held, whole = nil, nil
		return nil
	}
	for {
		var r *run
		var more bool
		select {
		case r, more = <-s.runs:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !more {
			return release()
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for i, p := range r.pieces {
			if err := release(); err != nil {
				return err
			}
			whole = r.data[i]
			held = whole[p.from:p.to]
		}
		r.data = nil
		s.window.Release(r.raw)
	}
}

// OutputError is a failure of whoever takes the stream, not of the repository.
type OutputError struct{ Err error }

func (e *OutputError) Error() string { return "write stream: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OutputError) Unwrap() error { return e.Err }
