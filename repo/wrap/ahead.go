package wrap

import "io"

// ahead reads in a goroutine of its own, so that whoever makes the bytes and whoever
// takes them work at the same time. Buffers go round between the two, so memory is
// bounded and nothing is allocated once all are in use.
type ahead struct {
	full chan block
	free chan []byte
	quit <-chan struct{} // closed: both sides end
	used []byte          // what rest is a part of, to be given back
	rest []byte
	err  error
}

type block struct {
	data []byte
	err  error // comes after data
}

const (
	aheadSize  = 256 << 10
	aheadDepth = 6
)

// newAhead starts to read src. With fill, buffers are handed over when they are full;
// otherwise after each read, because src is someone who may pause. end is called
// when src is read no more, before the last bytes are handed over.
func newAhead(src io.Reader, fill bool, quit <-chan struct{}, end func()) *ahead {
	a := &ahead{full: make(chan block, aheadDepth), free: make(chan []byte, aheadDepth), quit: quit}
	for range aheadDepth {
		a.free <- nil // allocated when it is needed: most streams are small
	}
	go a.run(src, fill, end)
	return a
}

func (a *ahead) run(src io.Reader, fill bool, end func()) {
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.quit:
			end()
			return
		}
		if b == nil {
			b = make([]byte, aheadSize)
		}
		n, err := readSome(src, b, fill)
		if err != nil {
			end()
		}
		select {
		case a.full <- block{b[:n], err}:
		case <-a.quit:
			if err == nil {
				end()
			}
			return
		}
		if err != nil {
			return
		}
	}
}

// readSome reads until something is there, or until b is full.
func readSome(src io.Reader, b []byte, fill bool) (n int, err error) {
	const patience = 100 // as bufio has it
	for idle := 0; err == nil && n < len(b) && (fill || n == 0); {
		var k int
		k, err = src.Read(b[n:])
		n += k
		if idle++; k > 0 {
			idle = 0
		}
		if idle == patience && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

func (a *ahead) Read(b []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.used != nil {
			a.free <- a.used[:cap(a.used)] // never blocks: there are not more buffers than places
			a.used = nil
		}
		select {
		case next := <-a.full:
			a.used, a.rest, a.err = next.data, next.data, next.err
		case <-a.quit:
			a.err = ErrClosed
		}
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}
