package wrap

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxWindow is the largest zstd window that is decoded, in bytes: that of
	// zstd --ultra -22 and of --long. A frame gets the memory that it asks for: up to
	// 8 MiB for the levels up to 19 that gpbackup has.
	maxWindow = 128 << 20
	// zstdInFlight is how many blocks of at most 128 KiB are decoded at once, in
	// three goroutines.
	zstdInFlight = 4
)

// zstdContent reads the frames of a zstd stream (RFC 8878). Skippable ones have no
// content.
type zstdContent struct {
	frames *zstdFrames
	z      *zstd.Decoder // nil: it has come to its end
	rest   *stray
	// outline: what is beyond the decoder is passed over, once it is found whole.
	outline bool
}

func newZstdContent(frames *zstdFrames) (*zstdContent, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(zstdInFlight), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(1<<63))
	if err == nil {
		err = z.Reset(frames)
	}
	if err != nil {
		return nil, err
	}
	return &zstdContent{frames: frames, z: z}, nil
}

func (c *zstdContent) Read(b []byte) (int, error) {
	if c.rest != nil {
		return c.rest.Read(b)
	}
	n, err := c.z.Read(b)
	if err == nil {
		return n, nil
	}
	c.close() // so that the frames are read by nobody else from here on
	if err = c.verdict(err); err != nil {
		return n, err
	}
	c.rest = &stray{in: c.frames.in}
	return n, nil
}

// verdict says what the end of the decoder means.
func (c *zstdContent) verdict(err error) error {
	for _, beyond := range []error{zstd.ErrWindowSizeExceeded, zstd.ErrDecoderSizeExceeded, zstd.ErrUnknownDictionary} {
		if errors.Is(err, beyond) {
			if !c.outline {
				return ErrBeyond
			}
			_, err = io.Copy(io.Discard, c.frames)
		}
	}
	switch {
	case c.frames.err != nil: // it knows better than who reads what it let through
		return c.frames.err
	case err != nil && err != io.EOF: //nolint:errorlint // only the bare one is an end
		// Every frame is there to its end, so this is no cut, even if the decoder
		// came to the end of a block too early.
		return fmt.Errorf("it is damaged: %v", err) // not wrapped: it must not pass for an end
	}
	return nil
}

func (c *zstdContent) tail() uint64 {
	if c.rest == nil {
		return 0
	}
	return c.rest.n
}

func (c *zstdContent) close() {
	if c.z != nil {
		c.z.Close()
		c.z = nil
	}
}
