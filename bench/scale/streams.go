//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/size"
	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/plugin"
)

// streamBytes is the length of the shortest stream, blockBytes that of what is repeated in it.
const (
	streamBytes = 100 * size.Mega
	blockBytes  = 64 << 20
)

// source is a stream of table text that begins anew after a block. Where the stream is not longer than the block, nothing
// in it repeats.
type source struct {
	block []byte
	at    int
	left  int64
	hash  *blake3.Hasher // of what was read, if not nil
}

// newSource is text that does not repeat.
func newSource(n int64) *source { return repeating(n, n) }

func repeating(n, block int64) *source {
	text := &bytes.Buffer{}
	table := tablegen.New(tablegen.Heap, 7, int(block/150)+1000)
	_, _ = table.WriteTo(&limited{text, block}) // the table is longer
	return &source{block: text.Bytes(), left: n}
}

// limited takes so many bytes and then fails.
type limited struct {
	to   *bytes.Buffer
	left int64
}

var errFull = errors.New("full")

func (l *limited) Write(p []byte) (int, error) {
	n := min(int64(len(p)), l.left)
	l.to.Write(p[:n])
	if l.left -= n; n < int64(len(p)) {
		return int(n), errFull
	}
	return int(n), nil
}

func (s *source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), s.left)], s.block[s.at:])
	s.at, s.left = (s.at+n)%len(s.block), s.left-int64(n)
	if s.hash != nil {
		_, _ = s.hash.Write(p[:n]) // never fails
	}
	return n, nil
}

// WriteTo moves large pieces, so that the pipe is all that stands between the text and who reads it.
func (s *source) WriteTo(w io.Writer) (total int64, err error) {
	for s.left > 0 {
		piece := s.block[s.at:min(len(s.block), s.at+1<<20)]
		piece = piece[:min(int64(len(piece)), s.left)]
		n, err := w.Write(piece)
		total += int64(n)
		s.at, s.left = (s.at+n)%len(s.block), s.left-int64(n)
		if s.hash != nil {
			_, _ = s.hash.Write(piece[:n])
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// streams measures a stream of one length.
func (b *bench) streams(ctx context.Context, t *table, power int) (err error) {
	length := int64(streamBytes / b.set.divide)
	for range power {
		length *= 10
	}
	progress("stream of %s", size.Format(length))
	t.column(size.Format(length))
	p, err := b.newPlace(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	per := func(u process.Usage) string {
		gb := float64(length) / size.Giga
		return fmt.Sprintf("%.2f s (%.2f s)", u.Wall.Seconds()/gb, u.CPU.Seconds()/gb)
	}
	sums := make([][]byte, 2)
	for i, what := range []string{"backup_data", "the same again, the next day"} {
		in := repeating(length, blockBytes/int64(b.set.divide))
		in.hash = blake3.New()
		u, err := p.plugin(ctx, "backup_data", streamPath(fmt.Sprintf("2026010%d000000", i+1), 1), in, nil)
		if err != nil {
			return err
		}
		t.set(what+": time for each GB, processor time in brackets", "%s", per(u))
		t.set("… memory of "+what, "%s", mebibytes(u.Anon))
		sums[i] = in.hash.Sum(nil)
	}
	out := blake3.New()
	u, err := p.plugin(ctx, "restore_data", streamPath("20260101000000", 1), nil, out)
	if err != nil {
		return err
	}
	if !bytes.Equal(out.Sum(nil), sums[0]) || !bytes.Equal(sums[0], sums[1]) {
		return errors.New("what was restored differs from what was backed up")
	}
	t.set("restore_data: time for each GB, processor time in brackets", "%s", per(u))
	t.set("… memory of restore_data", "%s", mebibytes(u.Anon))
	return p.describeStreams(ctx, t)
}

// describeStreams says what the two backups took.
func (p *place) describeStreams(ctx context.Context, t *table) error {
	r, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	for i, what := range []string{"manifest, with the lists that it refers to", "… of the next day"} {
		name, err := plugin.StreamName("default", streamPath(fmt.Sprintf("2026010%d000000", i+1), 1))
		if err != nil {
			return err
		}
		m, err := r.Stream(ctx, name)
		if err != nil {
			return err
		}
		info, err := r.Storage().Stat(ctx, name.Key())
		if err != nil {
			return err
		}
		if i == 0 {
			t.set("chunks, of them stored", "%d, %d", m.Stats.Chunks, m.Stats.NewChunks)
		}
		t.set(what, "%s", size.Format(info.Size+int64(m.Stats.MetaStored)))
	}
	return nil
}
