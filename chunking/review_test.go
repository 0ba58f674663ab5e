package chunking

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

// TestOnlyEOFIsTheEnd: a decompressor says io.ErrUnexpectedEOF of a container that
// is cut short, and an error may wrap io.EOF. Neither is the stream's end.
func TestOnlyEOFIsTheEnd(t *testing.T) {
	for _, cause := range []error{io.ErrUnexpectedEOF, fmt.Errorf("gunzip: %w", io.ErrUnexpectedEOF), fmt.Errorf("gunzip: %w", io.EOF)} {
		for _, n := range []int{0, 100, 3 << 20} {
			src := io.MultiReader(bytes.NewReader(make([]byte, n)), failing{cause})
			pool := NewPool(context.Background(), 4, 1<<20)
			c := NewCutter(src, Params{Polynomial: 0x3DA3358B4DC173, Min: 16 << 10, Max: 1 << 20, Bits: 15}, pool, nil, nil)
			var err error
			for err == nil {
				var chunk Chunk
				if chunk, err = c.Next(); err == nil {
					chunk.Release()
				}
			}
			if err == io.EOF || !errors.Is(err, cause) { //nolint:errorlint // Next promises io.EOF itself
				t.Errorf("%d bytes and then %q: Next ended with %v", n, cause, err)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
