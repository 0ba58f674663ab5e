package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// table is one table of the database, as its catalog has it.
type table struct {
	oid        int
	name       string
	columns    string
	kind       tablegen.Kind
	replicated bool // every segment has all of its rows
}

// database is the tables and what each segment has of them.
type database struct {
	tables   []table
	segments [][]*tablegen.Table // by content id, then as tables
}

// stream is what COPY prints of one table on one segment: one plugin key.
type stream struct {
	content int
	table   table
	path    string // of a file with the text
	size    int64
	hash    [sha256.Size]byte
}

const (
	orderColumns  = "(id,customer,channel,created,email,article,token,status,quantity,amount,note,changed)"
	eventColumns  = "(id,at,device,action,path,milliseconds,value,address,session,agent)"
	lookupColumns = "(id,code,article,price,active,changed)"

	smallTables = 30
)

// newDatabase invents tables of about size bytes of text in all.
func newDatabase(size int64, segments int) *database {
	large := []struct {
		name    string
		kind    tablegen.Kind
		percent int64
		row     int64 // bytes
		columns string
	}{
		{"orders", tablegen.Heap, 45, 156, orderColumns},
		{"events", tablegen.AppendOnly, 30, 133, eventColumns},
		{"invoices", tablegen.Heap, 16, 156, orderColumns},
		{"visits", tablegen.AppendOnly, 9, 133, eventColumns},
	}
	db := &database{segments: make([][]*tablegen.Table, segments)}
	for i, t := range large {
		db.tables = append(db.tables, table{16384 + 3*i, t.name, t.columns, t.kind, false})
		for c := range segments {
			rows := size * t.percent / 100 / t.row / int64(segments)
			db.segments[c] = append(db.segments[c], tablegen.New(t.kind, uint64(100*i+c), int(rows)))
		}
	}
	for i := range smallTables {
		// A few small tables are replicated, as dimension tables of a warehouse are.
		db.tables = append(db.tables, table{17000 + 3*i, fmt.Sprintf("lookup_%02d", i+1), lookupColumns, tablegen.Small, i%5 == 0})
	}
	for c := range segments {
		small := tablegen.Many(uint64(1000+c), smallTables)
		for i, t := range tablegen.Many(999, smallTables) {
			if i%5 == 0 {
				small[i] = t
			}
		}
		db.segments[c] = append(db.segments[c], small...)
	}
	return db
}

// nextDay lets a day pass.
func (db *database) nextDay() {
	for _, segment := range db.segments {
		for i, t := range segment {
			t.NextDay(tablegen.Daily(db.tables[i].kind))
		}
	}
}

// rows is how many rows COPY counts of a table, over all segments.
func (db *database) rows(i int) (n int) {
	for _, segment := range db.segments {
		n += segment[i].Rows()
	}
	return n
}

// write puts the text of every table on every segment into files under dir.
func (db *database) write(ctx context.Context, dir string) ([]stream, error) {
	streams := make([]stream, len(db.segments)*len(db.tables))
	work, ctx := errgroup.WithContext(ctx)
	for c, segment := range db.segments {
		work.Go(func() error {
			for i, t := range segment {
				if err := ctx.Err(); err != nil {
					return err
				}
				s := stream{content: c, table: db.tables[i], path: filepath.Join(dir, fmt.Sprintf("%d_%d.csv", c, db.tables[i].oid))}
				if err := s.write(t); err != nil {
					return fmt.Errorf("write table %s: %w", s.table.name, err)
				}
				streams[i*len(db.segments)+c] = s
			}
			return nil
		})
	}
	return streams, work.Wait()
}

// write fills the file, and notes its size and hash.
func (s *stream) write(t *tablegen.Table) error {
	f, err := os.Create(s.path)
	if err != nil {
		return err
	}
	sum := sha256.New()
	b := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<20)
	s.size, err = t.WriteTo(b)
	if err := errors.Join(err, b.Flush(), f.Close()); err != nil {
		return err
	}
	s.hash = digest(sum)
	return nil
}

func digest(h hash.Hash) (d [sha256.Size]byte) {
	h.Sum(d[:0])
	return d
}
