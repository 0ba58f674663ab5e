package index

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// superRow is one super-feature of one chunk on its way into the bucket features.
type superRow struct {
	number uint64
	age    uint32 // the later the fragment, the smaller
	key    [keySize]byte
}

// superSize is the length of a superRow in a run: number and age big-endian, the key,
// and zeros up to the length of an id, because that is what a head compares.
const superSize = 32

// superRuns sorts super-features as runs does chunks.
type superRuns struct {
	dir   string
	limit int // bytes sorted in memory at a time
	salt  uint32
	rows  []superRow
	count uint64
	file  *os.File
	spans []int64 // where each run in the file ends
}

// add takes the super-features of a chunk in a fragment of this rank.
func (r *superRuns) add(rec record, features [superFeatures]uint64, rank uint32) error {
	for i, super := range features {
		row := superRow{number: featureNumber(r.salt, i, super), age: ^rank}
		copy(row.key[:], rec)
		r.rows = append(r.rows, row)
	}
	r.count += superFeatures
	if len(r.rows)*superSize >= r.limit {
		return r.spill()
	}
	return nil
}

func (r *superRuns) sort() {
	slices.SortFunc(r.rows, func(x, y superRow) int {
		if x.number != y.number {
			return cmp.Compare(x.number, y.number)
		}
		return cmp.Or(cmp.Compare(x.age, y.age), bytes.Compare(x.key[:], y.key[:]))
	})
}

// spill appends what is in memory to the file, which a crash makes garbage.
func (r *superRuns) spill() error {
	if r.file == nil {
		f, err := os.CreateTemp(r.dir, tempPrefix+"features-")
		if err != nil {
			return fmt.Errorf("create run: %w", err)
		}
		r.file = f
	}
	r.sort()
	var end int64
	if len(r.spans) > 0 {
		end = r.spans[len(r.spans)-1]
	}
	w := bufio.NewWriterSize(r.file, 256<<10)
	src := superSource{rows: r.rows}
	for {
		rec, err := src.next()
		if err != nil {
			break // the end
		}
		if _, err := w.Write(rec); err != nil {
			return fmt.Errorf("write run: %w", err)
		}
		end += superSize
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	r.spans = append(r.spans, end)
	r.rows = r.rows[:0]
	return nil
}

// write sorts everything into the bucket features.
func (r *superRuns) write(ctx context.Context, w *writer, step func(string)) error {
	r.sort()
	sources := []source{&superSource{rows: r.rows}}
	var from int64
	for _, to := range r.spans {
		part := io.NewSectionReader(r.file, from, to-from)
		sources = append(sources, &superRunSource{r: bufio.NewReaderSize(part, 64<<10)})
		from = to
	}
	all, err := newHeads(sources)
	if err != nil {
		return err
	}
	w.sum.featureBits = featureBits(r.count)
	w.sum.filterBlocks = filterBlocks(r.count)
	filter := filterWriter{w: w}
	var number uint64 // of the row before
	for n := 0; len(all) > 0; n++ {
		if n%4096 == 0 {
			step("features")
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		rec := all[0].rec
		// The newest chunk of a number comes first, the others are left out.
		if next := binary.BigEndian.Uint64(rec); n == 0 || next != number {
			number = next
			if err := w.addFeature(number, rec[12:12+keySize]); err != nil {
				return err
			}
			if err := filter.add(number); err != nil {
				return err
			}
		}
		if err := all.advance(); err != nil {
			return err
		}
	}
	if err := filter.finish(); err != nil {
		return err
	}
	return w.endGroup()
}

func (r *superRuns) close() {
	r.rows = nil
	if r.file != nil {
		_ = r.file.Close()           // read only by now
		_ = os.Remove(r.file.Name()) // else the next builder does
	}
}

// superSource gives sorted rows in the form of a run.
type superSource struct {
	rows []superRow
	buf  [superSize]byte
}

func (s *superSource) next() (record, error) {
	if len(s.rows) == 0 {
		return nil, io.EOF
	}
	row := &s.rows[0]
	s.rows = s.rows[1:]
	binary.BigEndian.PutUint64(s.buf[:], row.number)
	binary.BigEndian.PutUint32(s.buf[8:], row.age)
	copy(s.buf[12:], row.key[:])
	return s.buf[:], nil
}

type superRunSource struct {
	r   *bufio.Reader
	buf [superSize]byte
}

func (s *superRunSource) next() (record, error) {
	if _, err := io.ReadFull(s.r, s.buf[:]); errors.Is(err, io.EOF) {
		return nil, io.EOF
	} else if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	return s.buf[:], nil
}
