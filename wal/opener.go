package wal

import (
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/seal"
)

// opener opens objects. It is safe for concurrent use, and keeps memory to use it again.
type opener struct {
	zstd     *compress.Decoder
	lanes    int                // pieces of a file that are decoded at once, at most
	decoders chan *pieceDecoder // as are the next, those that nobody uses
	buffers  chan []byte
}

func newOpener(concurrency int) (*opener, error) {
	zstd, err := compress.NewDecoder(concurrency)
	if err != nil {
		return nil, err
	}
	concurrency = max(concurrency, 1)
	return &opener{
		zstd: zstd, lanes: concurrency,
		decoders: make(chan *pieceDecoder, 2*concurrency), buffers: make(chan []byte, 2*concurrency+2),
	}, nil
}

// fileByFile returns an opener for whoever opens several objects at once, as many as
// there are cores: each is opened by one core. That takes less of the processors' time
// than to have several at work on one file, whose pieces wander between them.
func (o *opener) fileByFile() *opener {
	return &opener{
		zstd: o.zstd, lanes: 1,
		decoders: make(chan *pieceDecoder, o.lanes), buffers: make(chan []byte, o.lanes),
	}
}

// free takes one of what nobody uses, or the zero value.
func free[T any](from chan T) (v T) {
	select {
	case v = <-from:
	default:
	}
	return v
}

// giveBack keeps v for whoever is next, if there is room.
func giveBack[T any](to chan T, v T) {
	select {
	case to <- v:
	default:
	}
}

// open writes the file that an object holds to w, piece by piece. Only when it returns
// nil was all of that checked, down to the last byte. The errors of w are returned as
// they are.
//
// A few pieces at a time are in memory, and in the processor's cache, from where they
// are decoded until they are written: to touch fresh memory for each costs more than to
// decode it.
func (o *opener) open(keys *seal.Keys, key string, name Name, object []byte, w io.Writer) (*Info, error) {
	info, s, err := openInfo(keys, key, name, object[:min(len(object), metaEnd)])
	if err != nil {
		return nil, err
	}
	end := int64(metaEnd)
	for _, b := range info.boxes {
		end += int64(b)
	}
	if end > int64(len(object)) {
		return nil, fmt.Errorf("%w: %d bytes long, %d are missing", repo.ErrDamaged, len(object), end-int64(len(object)))
	}
	if err := checkPadding(keys, s, []byte(key), object[end:]); err != nil {
		return nil, err
	}
	out := &verified{info: info, to: w, hash: blake3.New()}
	if o.lanes == 1 {
		err = o.inOne(s, key, info, object, out)
	} else {
		err = o.inLanes(s, key, info, object, out)
	}
	if err != nil {
		return nil, err
	}
	if digest.ID(out.hash.Sum(nil)) != info.Hash {
		return nil, fmt.Errorf("%w: the file's hash is not the recorded one", repo.ErrDamaged)
	}
	return info, nil
}

// verified passes the pieces of a file on, in order, and hashes them.
type verified struct {
	info *Info
	to   io.Writer
	hash *blake3.Hasher
}

// decode returns piece i, from 0, which is in the box, in dst's memory if there is room.
func (v *verified) decode(s *seal.Sealer, bind []byte, i int, box []byte, d *pieceDecoder, dst []byte) ([]byte, error) {
	size, _ := pieceSize(v.info.Length)
	length := int(min(int64(size), v.info.Length-int64(i)*int64(size)))
	return openPiece(s, uint64(i)+1, bind, box, d, v.info.piece(i), dst[:0], length)
}

// piece writes a piece that was decoded, after those before it.
func (v *verified) piece(i int, data []byte) error {
	if i == 0 {
		if err := checkContent(v.info, data); err != nil {
			return err
		}
	}
	_, _ = v.hash.Write(data)
	_, err := v.to.Write(data)
	return err
}

// decoder returns one that nobody uses.
func (o *opener) decoder() *pieceDecoder {
	if d := free(o.decoders); d != nil {
		return d
	}
	return &pieceDecoder{zstd: o.zstd}
}

// inOne decodes, hashes and writes one piece after the other. So each is in the cache
// of one core from beginning to end.
func (o *opener) inOne(s *seal.Sealer, key string, info *Info, object []byte, out *verified) (err error) {
	d, buffer := o.decoder(), free(o.buffers)
	at := int64(metaEnd)
	for i, b := range info.boxes {
		box := object[at : at+int64(b)]
		at += int64(b)
		if buffer, err = out.decode(s, []byte(key), i, box, d, buffer); err != nil {
			return err
		}
		if err = out.piece(i, buffer); err != nil {
			return err
		}
	}
	giveBack(o.decoders, d)
	giveBack(o.buffers, buffer)
	return nil
}

// inLanes decodes several pieces at a time.
func (o *opener) inLanes(s *seal.Sealer, key string, info *Info, object []byte, out *verified) error {
	type part struct {
		data []byte
		err  error
	}
	n := len(info.boxes)
	lanes := max(1, min(o.lanes, n))
	parts := make([]chan part, lanes) // piece i comes out of lane i modulo lanes
	// Each lane has one at most, and one is being written: so the lane whose turn it is
	// finds one.
	buffers := make(chan []byte, lanes+1)
	for range lanes + 1 {
		buffers <- free(o.buffers)
	}
	stop := make(chan struct{})
	defer close(stop)
	for l := range lanes {
		parts[l] = make(chan part)
		go func() {
			d := o.decoder()
			defer giveBack(o.decoders, d)
			at := int64(metaEnd)
			for i, b := range info.boxes {
				box := object[at : at+int64(b)]
				at += int64(b)
				if i%lanes != l {
					continue
				}
				var p part
				select {
				case p.data = <-buffers:
				case <-stop:
					return
				}
				p.data, p.err = out.decode(s, []byte(key), i, box, d, p.data)
				select {
				case parts[l] <- p:
				case <-stop:
					return
				}
			}
		}()
	}
	for i := range n {
		p := <-parts[i%lanes]
		if p.err != nil {
			return p.err
		}
		if err := out.piece(i, p.data); err != nil {
			return err
		}
		buffers <- p.data
	}
	for range lanes + 1 {
		giveBack(o.buffers, <-buffers)
	}
	return nil
}

// openPiece returns what the box holds, length bytes, in dst's memory if there is room.
func openPiece(s *seal.Sealer, ordinal uint64, bind, box []byte, d *pieceDecoder, where place, dst []byte, length int) ([]byte, error) {
	plain, err := s.Open(d.plain[:0], ordinal, bind, box)
	if err == nil {
		d.plain = plain
		dst, err = d.decode(where, plain, dst, length)
	}
	if err != nil {
		return nil, fmt.Errorf("piece %d: %w", ordinal, err)
	}
	return dst, nil
}
