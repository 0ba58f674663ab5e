package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/repo"
)

// Input reads a descriptor until its end or the end of a context. It makes nothing
// of O_NONBLOCK, which would change the descriptor for everybody who shares it.
type Input struct {
	ctx  context.Context //nolint:containedctx // a reader has no other way to be stopped
	fd   int
	wake [2]int // a pipe that is readable when the context has ended
	stop func() bool
}

// NewInput returns an Input of a descriptor, Stdin for instance. A pipe is made as large
// as may be. Reading does not outlast the context, even while nobody writes to the pipe;
// what is read then is left in it. It must be closed.
func NewInput(ctx context.Context, fd int) (*Input, error) {
	in := &Input{ctx: ctx, fd: fd}
	if err := CheckOpen(fd); err != nil {
		return nil, err
	}
	if err := unix.Pipe2(in.wake[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	widen(fd)
	in.stop = context.AfterFunc(ctx, func() { _, _ = unix.Write(in.wake[1], []byte{0}) })
	return in, nil
}

// Close ends the watch on the context. The wake pipe stays until the process ends:
// the context's goroutine may be about to write to it.
func (in *Input) Close() { in.stop() }

// CheckOpen refuses standard input or output, by its number, if nobody opened it. Go's
// runtime opens /dev/null in place of a closed one, for reading and writing, which no
// shell does; without this a stream that was never there would be stored as an empty
// one, and one that was restored would be thrown away.
func CheckOpen(fd int) error {
	var st, null unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	isNull := unix.Stat("/dev/null", &null) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == null.Rdev
	switch {
	case !isNull || flags&unix.O_ACCMODE != unix.O_RDWR:
		return nil
	case fd == Stdin:
		return errors.New("standard input is closed")
	}
	return repo.WithHint(errors.New("standard output is closed"),
		"to throw the data away, open /dev/null for writing only, as >/dev/null does")
}

// Read returns errors that are neither io.EOF nor io.ErrUnexpectedEOF, unless the
// stream has ended.
func (in *Input) Read(b []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(in.fd), Events: unix.POLLIN}, {Fd: int32(in.wake[0]), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if err != nil && err != unix.EINTR {
			return 0, fmt.Errorf("wait for stream: %w", err)
		}
		if in.ctx.Err() != nil {
			return 0, context.Cause(in.ctx)
		}
		if err != nil || fds[0].Revents == 0 {
			continue
		}
		n, err := unix.Read(in.fd, b)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN:
			continue
		case err != nil:
			return 0, fmt.Errorf("read stream: %w", err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
