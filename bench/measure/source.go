//go:build linux

package main

import (
	"bytes"
	"io"
	"time"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// tableSource is table text that never repeats: table after table, each of its own seed. Two goroutines write tables
// ahead, so that whoever reads seldom waits; waited says how long he did. The same seed gives the same text.
type tableSource struct {
	bytes  int64
	seed   uint64
	waited time.Duration
	reader *io.PipeReader // only for Read
}

const (
	sourceRows    = 25_000 // of a table: about 4 MB
	sourceWorkers = 2
)

// WriteTo is what os/exec uses to feed a process.
func (s *tableSource) WriteTo(w io.Writer) (int64, error) {
	type ready = chan *bytes.Buffer
	stop := make(chan struct{})
	defer close(stop)
	order := make(chan ready, sourceWorkers)
	free := make(chan *bytes.Buffer, 2*sourceWorkers)
	for range 2 * sourceWorkers {
		free <- new(bytes.Buffer)
	}
	go func() {
		for n := uint64(0); ; n++ {
			table := make(ready, 1)
			select {
			case order <- table:
			case <-stop:
				return
			}
			select {
			case buffer := <-free:
				go func() {
					buffer.Reset()
					_, _ = tablegen.New(tablegen.Heap, s.seed<<32|n, sourceRows).WriteTo(buffer) // memory never fails
					table <- buffer
				}()
			case <-stop:
				return
			}
		}
	}()
	var total int64
	for total < s.bytes {
		begin := time.Now()
		buffer := <-<-order
		s.waited += time.Since(begin)
		text := buffer.Bytes()
		n, err := w.Write(text[:min(int64(len(text)), s.bytes-total)])
		total += int64(n)
		if err != nil {
			return total, err
		}
		free <- buffer
	}
	return total, nil
}

// Read makes a tableSource a reader; os/exec never calls it.
func (s *tableSource) Read(p []byte) (int, error) {
	if s.reader == nil {
		r, w := io.Pipe()
		s.reader = r
		go func() {
			_, err := s.WriteTo(w)
			_ = w.CloseWithError(err) // never fails
		}()
	}
	return s.reader.Read(p)
}

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
