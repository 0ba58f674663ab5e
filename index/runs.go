package index

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// batchBytes is how much a builder sorts in memory at a time: about 440,000 chunks.
const batchBytes = 24 << 20

// runs sorts more records than fit in memory: batches that are full go to a
// temporary file, each sorted, and merge reads them all at once.
type runs struct {
	dir   string
	limit int
	batch batch
	rank  []uint32 // by pack number: how recent its fragment is
	file  *os.File
	spans []int64 // where each run in the file ends
	size  int64   // bytes of all records added
	count int64
}

// add appends the chunks of p, the next pack, of a fragment of this rank.
func (r *runs) add(p *Pack, first, rank uint32) error {
	number := uint32(len(r.rank))
	r.rank = append(r.rank, rank)
	before := len(r.batch.arena)
	r.batch.add(p, number, first)
	r.size += int64(len(r.batch.arena) - before)
	r.count += int64(len(p.Entries))
	if len(r.batch.arena) >= r.limit {
		return r.spill()
	}
	return nil
}

// spill appends the batch to the file. It is not synced: a crash makes it garbage.
func (r *runs) spill() error {
	if r.file == nil {
		f, err := os.CreateTemp(r.dir, tempPrefix+"runs-")
		if err != nil {
			return fmt.Errorf("create run: %w", err)
		}
		r.file = f
	}
	r.batch.sort(r.rank)
	w := bufio.NewWriterSize(r.file, 256<<10)
	var end int64
	if len(r.spans) > 0 {
		end = r.spans[len(r.spans)-1]
	}
	var last record
	for i := range r.batch.refs {
		rec := r.batch.record(i)
		if last != nil && bytes.Equal(last.id(), rec.id()) {
			continue // the first is the most recent
		}
		if _, err := w.Write(rec); err != nil {
			return fmt.Errorf("write run: %w", err)
		}
		end += int64(len(rec))
		last = rec
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	r.spans = append(r.spans, end)
	r.batch.reset()
	return nil
}

// sources returns the runs and what is still in memory, for merge.
func (r *runs) sources() []source {
	r.batch.sort(r.rank)
	all := []source{&batchSource{b: &r.batch}}
	var from int64
	for _, to := range r.spans {
		part := io.NewSectionReader(r.file, from, to-from)
		all = append(all, &runSource{r: bufio.NewReaderSize(part, 64<<10)})
		from = to
	}
	return all
}

func (r *runs) close() {
	if r.file != nil {
		_ = r.file.Close()           // read only by now
		_ = os.Remove(r.file.Name()) // else the next builder does
	}
}

// source gives records in the order of their ids. A record is valid until the next
// call; the end is io.EOF.
type source interface {
	next() (record, error)
}

type batchSource struct {
	b *batch
	i int
}

func (s *batchSource) next() (record, error) {
	if s.i == len(s.b.refs) {
		return nil, io.EOF
	}
	s.i++
	return s.b.record(s.i - 1), nil
}

type runSource struct {
	r   *bufio.Reader
	buf [maxRecord]byte
}

func (s *runSource) next() (record, error) {
	if _, err := io.ReadFull(s.r, s.buf[:recordSize]); errors.Is(err, io.EOF) {
		return nil, io.EOF
	} else if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	n := recordLen(s.buf[:])
	if _, err := io.ReadFull(s.r, s.buf[recordSize:n]); err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	return s.buf[:n], nil
}
