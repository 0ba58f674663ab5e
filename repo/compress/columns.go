package compress

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/gpdedup/gpdedup/columns"
	"github.com/gpdedup/gpdedup/index"
)

// The payload of a chunk that is stored by columns is their layout, as package columns writes it, and then parts. Each holds
// one or more of the layout's segments: how many, a uvarint; how long the part is, a u32; and the part, a zstd
// frame, or, if it is as long as its segments are, those.
const (
	partLength = 4        // bytes that say how long a part is
	leastPart  = 1 << 10  // bytes of segments; fewer do not pay for a table of codes
	leastTable = 16 << 10 // bytes of a chunk; what is shorter is not split
	trialEvery = 32       // chunks
)

// choice remembers whether tables with some delimiter are better stored by columns. Neighbours are alike, so one
// chunk is encoded in both ways now and then, and others as the better one.
type choice struct {
	mu        sync.Mutex
	delimiter byte
	columns   bool
	left      int // chunks until the next trial
}

// next says what to do with the next chunk: try both ways, or take columns or not.
func (c *choice) next(delimiter byte) (try, byColumns bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 || delimiter != c.delimiter {
		return true, false
	}
	c.left--
	return false, c.columns
}

func (c *choice) tried(delimiter byte, byColumns bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delimiter, c.columns, c.left = delimiter, byColumns, trialEvery-1
}

// EncodeChunk is Encode for the content of streams: if that is a table, it may be stored by columns.
func (e *Encoder) EncodeChunk(dst, raw []byte) ([]byte, index.Encoding) {
	if e.zstd == nil || len(raw) < leastTable {
		return e.Encode(dst, raw)
	}
	delimiter, ok := columns.Delimiter(raw)
	if !ok {
		return e.Encode(dst, raw)
	}
	try, byColumns := e.choice.next(delimiter)
	if !try && !byColumns {
		return e.Encode(dst, raw)
	}
	w := e.zstd.take()
	defer e.zstd.giveBack(w)
	start := len(dst)
	out, ok := w.encodeColumns(dst, raw, delimiter)
	if try || !ok {
		w.other = w.zstd.EncodeAll(raw, w.other[:0])
		// Columns take longer to read, so they must save something.
		byColumns = ok && len(out)-start < len(w.other)-len(w.other)/16
		e.choice.tried(delimiter, byColumns)
	}
	encoding := index.Columns
	if !byColumns {
		out, encoding = append(out[:start], w.other...), index.Zstd
	}
	if !worthwhile(len(out)-start, len(raw)) {
		return append(out[:start], raw...), index.Raw
	}
	return out, encoding
}

// encodeColumns appends the payload that stores raw by columns to dst, if there is one.
func (w *worker) encodeColumns(dst, raw []byte, delimiter byte) (out []byte, ok bool) {
	s := &w.splitter
	if !s.Split(raw, delimiter) {
		return dst, false
	}
	dst = s.AppendLayout(dst)
	for i := 0; i < s.Segments(); {
		part, n := s.Segment(i), 1
		bits := i == columns.Bits && len(part) > 0 // nothing makes them shorter
		if len(part) < leastPart && !bits {
			w.joined = append(w.joined[:0], part...)
			for ; i+n < s.Segments() && len(w.joined) < leastPart; n++ {
				w.joined = append(w.joined, s.Segment(i+n)...)
			}
			part = w.joined
		}
		i += n
		dst = binary.AppendUvarint(dst, uint64(n))
		at := len(dst)
		dst = append(dst, make([]byte, partLength)...)
		body := len(dst)
		if bits {
			dst = append(dst, part...)
		} else if dst = w.zstd.EncodeAll(part, dst); !worthwhile(len(dst)-body, len(part)) {
			dst = append(dst[:body], part...)
		}
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-body))
	}
	return dst, true
}

// merger is the memory that it takes to decode a chunk that is stored by columns.
type merger struct {
	columns.Merger
	segments []byte
}

// mergers are those that nobody uses at the moment.
type mergers chan *merger

// keptSegments is the most memory that is kept, in bytes: few chunks are longer.
const keptSegments = 2 << 20

func (p mergers) take() *merger {
	select {
	case m := <-p:
		return m
	default:
		return &merger{}
	}
}

func (p mergers) giveBack(m *merger) {
	if cap(m.segments) > keptSegments {
		m.segments = nil
	}
	select {
	case p <- m:
	default:
	}
}

// decodeColumns appends the content of a payload, which is exactly raw bytes, to dst.
func (d *Decoder) decodeColumns(dst, payload []byte, raw int) ([]byte, error) {
	m := d.mergers.take()
	defer d.mergers.giveBack(m)
	payload, err := m.Layout(payload, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: layout: %w", ErrDecode, err)
	}
	all := m.segments[:0]
	if cap(all) < raw+Slack {
		all = make([]byte, 0, raw+raw/4+Slack)
	}
	for i := 0; i < m.Segments(); {
		n, read := binary.Uvarint(payload)
		if read <= 0 || n == 0 || n > uint64(m.Segments()-i) || len(payload) < read+partLength {
			return nil, fmt.Errorf("%w: a part without beginning", ErrDecode)
		}
		size := 0
		for range n {
			size += m.SegmentLength(i)
			i++
		}
		stored := binary.LittleEndian.Uint32(payload[read:])
		payload = payload[read+partLength:]
		if uint64(stored) > uint64(len(payload)) {
			return nil, fmt.Errorf("%w: a part of %d bytes, where %d follow", ErrDecode, stored, len(payload))
		}
		encoding := index.Zstd
		if int(stored) == size {
			encoding = index.Raw
		}
		if all, err = d.Decode(all, payload[:stored], encoding, size); err != nil {
			return nil, err
		}
		payload = payload[stored:]
	}
	m.segments = all
	if len(payload) != 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last part", ErrDecode, len(payload))
	}
	at := len(dst)
	dst = grow(dst, raw+Slack)
	if err := m.Merge(dst[at:at+raw], all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return dst[:at+raw], nil
}
