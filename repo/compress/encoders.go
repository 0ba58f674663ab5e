package compress

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/columns"
)

// encoders are zstd encoders of one kind, each for one goroutine. They are made when
// they are needed, for each has tables of some hundred KiB: most processes store one
// short stream, and need one.
type encoders struct {
	options []zstd.EOption
	idle    chan *worker
	unmade  chan struct{} // one for each that may still be made
}

// worker is an encoder with the memory that it needs.
type worker struct {
	zstd     *zstd.Encoder
	splitter columns.Splitter
	joined   []byte // columns
	other    []byte // what a chunk becomes in the other way
}

func newWorker(e *zstd.Encoder) *worker {
	w := &worker{zstd: e}
	w.splitter.Measure = func(segment []byte) int {
		w.other = e.EncodeAll(segment, w.other[:0])
		return min(len(w.other), len(segment))
	}
	return w
}

func newEncoders(n int, level zstd.EncoderLevel, window int) (*encoders, error) {
	p := &encoders{
		options: []zstd.EOption{
			zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(window), zstd.WithEncoderCRC(false), // seal and name cover the bytes
			zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true),
			zstd.WithAllLitEntropyCompression(true), // a column of numbers does not repeat itself, and has few letters
		},
		idle: make(chan *worker, n), unmade: make(chan struct{}, n),
	}
	first, err := zstd.NewWriter(nil, p.options...) // takes no memory yet
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	p.idle <- newWorker(first)
	for range n - 1 {
		p.unmade <- struct{}{}
	}
	return p, nil
}

// take returns an encoder that nobody uses, one that was used before if there is one,
// and waits if there can be no more.
func (p *encoders) take() *worker {
	select {
	case e := <-p.idle:
		return e
	default:
	}
	select {
	case e := <-p.idle:
		return e
	case <-p.unmade:
	}
	e, err := zstd.NewWriter(nil, p.options...)
	if err != nil {
		panic("zstd takes its options once and not again: " + err.Error())
	}
	return newWorker(e)
}

func (p *encoders) giveBack(e *worker) { p.idle <- e }
